"""The fork server is tested as it is used: as a process, by clients that are processes. It has little to import here."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepicd.training.cpu.device import Cpus

SERVER = """
import sys
from deepicd.training.cpu.fork_server import main
outcome = main(sys.argv[1:], stack=())
sys.exit(outcome) if isinstance(outcome, int) else outcome()
"""
# The first fork: ends when a client sends an exit code, or when none is left, and the server ends with it.
MAIN = """
import os, pathlib, signal, sys, time
order, tests = pathlib.Path(sys.argv[1]), int(sys.argv[2])
while not order.exists():
    if not os.path.exists(f"/proc/{tests}"):
        sys.exit("the tests are gone")
    time.sleep(0.01)
code = int(order.read_text())
if code < 0:
    os.kill(os.getpid(), -code)
sys.exit(code)
"""
TELL = """
import json, os, sys
import numpy
print(json.dumps({"arguments": sys.argv[1:], "variable": os.environ.get("COLOUR"), "inherited": "SERVERS_OWN" in os.environ,
                  "folder": os.getcwd(), "drawn": numpy.random.random(), "beside": sys.path[0], "pid": os.getpid()}))
print("to standard error", file=sys.stderr)
"""

SPAWN = """
import json, multiprocessing, os
from pathlib import Path

def look(results, number):
    alike = Path(f"/proc/{os.getppid()}/cmdline").read_text() == Path(f"/proc/{os.getpid()}/cmdline").read_text()
    results.put((number, alike))

if __name__ == "__main__":
    spawning = multiprocessing.get_context("spawn")
    results = spawning.Queue()
    processes = [spawning.Process(target=look, args=(results, number)) for number in range(3)]
    [process.start() for process in processes]
    [process.join() for process in processes]
    found = sorted(results.get(timeout=60) for _ in processes)
    print(json.dumps({"found": found, "codes": [process.exitcode for process in processes]}))
"""


def accepts(address: Path) -> bool:
    """Whether a process listens there: the file exists a moment earlier."""
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(str(address)) == 0


class Server:
    """A fork server, and clients of it."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder = folder
        (folder / "told_to_end.py").write_text(MAIN)
        # Its first variable is one that no client has.
        environment = {"SERVERS_OWN": "1", **os.environ, "PYTHONPATH": str(folder), **variables}
        command = [sys.executable, "-c", SERVER, str(folder), "-m", "told_to_end", str(folder / "order"), str(os.getpid())]
        self.process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL)
        while not accepts(folder / "forks"):
            assert self.process.poll() is None
            time.sleep(0.01)

    def client(self, program: str, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        path = self.folder / "program.py"
        path.write_text(program)
        return self.python(str(path), *arguments, variables=variables)

    def python(
        self, *arguments: str, descriptors: tuple[int, ...] = (), variables: dict[str, str] | None = None
    ) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [Cpus().worker_python(str(self.folder)), *arguments],
            env=variables or {}, cwd=self.folder, pass_fds=descriptors, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def end(self, code: int) -> int:
        (self.folder / "order.new").write_text(str(code))
        (self.folder / "order.new").rename(self.folder / "order")
        return self.process.wait(60)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    yield server
    server.end(0)


def test_a_program_has_the_clients_arguments_environment_folder_and_output(server: Server) -> None:
    output, errors = server.client(TELL, "one", "two words", COLOUR="red").communicate(timeout=60)
    found = json.loads(output)
    assert found["arguments"] == ["one", "two words"]
    assert (found["variable"], found["inherited"]) == ("red", False)
    assert (found["folder"], found["beside"]) == (str(server.folder), str(server.folder))
    assert errors == "to standard error\n"


def test_code_and_modules_run_as_python_would_run_them(server: Server) -> None:
    (server.folder / "tells.py").write_text(TELL)
    for started, beside in ((["-u", "-m", "tells"], str(server.folder)), (["-c", TELL], "")):
        output, _ = server.python(*started, "one", variables={"COLOUR": "blue"}).communicate(timeout=60)
        found = json.loads(output)
        assert (found["arguments"], found["variable"], found["beside"]) == (["one"], "blue", beside)


def test_a_fork_looks_only_in_the_search_path_if_python_would(tmp_path: Path) -> None:
    server = Server(tmp_path, PYTHONSAFEPATH="1")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "tells.py").write_text(TELL)
    for started in (["-c", TELL], ["elsewhere/tells.py"]):
        output, _ = server.python(*started).communicate(timeout=10)
        assert json.loads(output)["beside"] == str(tmp_path)  # the server's PYTHONPATH
    server.end(0)


def test_a_fork_has_the_clients_descriptors_by_their_numbers(server: Server) -> None:
    pipes = [os.pipe() for _ in range(4)]
    swapped = [pipes[number][1] for number in (2, 0, 3, 1)]
    code = "import os, sys; [os.write(int(number), number.encode()) for number in sys.argv[1:]]"
    client = server.python("-c", code, *map(str, swapped), descriptors=tuple(swapped))
    assert client.wait(60) == 0
    for reading, writing in pipes:
        os.close(writing)
        assert os.read(reading, 100) == str(writing).encode()
        assert os.read(reading, 100) == b"", "somebody still holds it"
        os.close(reading)


def test_a_fork_can_give_itself_a_title_whatever_its_environment(server: Server) -> None:
    code = "import setproctitle; setproctitle.setproctitle('VLLM::EngineCore'); print(open('/proc/self/cmdline').read())"
    for variables in ({}, {**os.environ, "SERVERS_OWN": "2"}, {"ANOTHER": "variable", **os.environ}):
        output, errors = server.python("-c", code, variables=variables).communicate(timeout=60)
        assert output.startswith("VLLM::EngineCore"), (output, errors)


def test_multiprocessing_in_a_fork_spawns_forks(server: Server) -> None:
    output, errors = server.client(SPAWN).communicate(timeout=60)
    assert json.loads(output) == {"found": [[0, True], [1, True], [2, True]], "codes": [0, 0, 0]}, errors


def test_a_relative_program_that_spawns_is_found_again(server: Server) -> None:
    (server.folder / "relative.py").write_text(SPAWN)
    output, errors = server.python("relative.py").communicate(timeout=60)
    assert json.loads(output)["codes"] == [0, 0, 0], errors


def test_a_client_that_is_ended_ends_its_fork(server: Server) -> None:
    program = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(print("ended")))
print("up", flush=True)
time.sleep(60)
"""
    client = server.client(program)
    assert client.stdout is not None
    assert client.stdout.readline() == "up\n"
    client.terminate()
    assert client.stdout.readline() == "ended\n"
    assert client.wait(60) == -signal.SIGTERM


def test_a_large_environment_arrives_whole(server: Server) -> None:
    letters = {f"VARIABLE_{number}": "x" * 100_000 for number in range(15)}
    output, _ = server.client(TELL, COLOUR="green", **letters).communicate(timeout=60)
    assert json.loads(output)["variable"] == "green"


@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("", 0),
        ("raise SystemExit(7)", 7),
        ("raise ValueError", 1),
        ("import os; os._exit(3)", 3),
        ("import os; os.abort()", -signal.SIGABRT),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
    ],
)
def test_a_client_ends_as_its_fork_does(program: str, code: int, server: Server) -> None:
    assert server.client(program).wait(60) == code


def test_forks_run_side_by_side_and_draw_different_numbers(server: Server) -> None:
    clients = [server.client(TELL) for _ in range(4)]
    found = [json.loads(client.communicate(timeout=60)[0]) for client in clients]
    assert len({each["drawn"] for each in found}) == 4
    assert len({each["pid"] for each in found}) == 4


@pytest.mark.parametrize(("code", "exit_code"), [(0, 0), (3, 3), (-signal.SIGKILL, 128 + signal.SIGKILL)])
def test_the_server_ends_as_its_first_fork_does(code: int, exit_code: int, server: Server) -> None:
    assert server.end(code) == exit_code


def test_a_client_that_has_gone_does_not_disturb_others(server: Server) -> None:
    client = server.client("import sys, time; print('up', flush=True); time.sleep(0.5)")
    assert client.stdout is not None
    assert client.stdout.readline() == "up\n"
    client.kill()
    client.wait()
    assert server.client("import time; time.sleep(1); raise SystemExit(5)").wait(60) == 5


@pytest.mark.parametrize("sent", [b"", b'{"arguments": ["half'])
def test_a_client_that_ends_before_its_request_does_not_disturb_others(sent: bytes, server: Server) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(server.folder / "forks"))
        connection.sendall(sent)
    assert server.client("raise SystemExit(5)").wait(60) == 5


def test_a_client_does_not_outwait_its_server(server: Server) -> None:
    client = server.client("import sys, time; print('up', flush=True); time.sleep(20)")
    assert client.stdout is not None
    assert client.stdout.readline() == "up\n"
    server.process.kill()
    server.process.wait()
    assert client.wait(60) == 1
