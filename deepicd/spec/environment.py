"""What the operator passes to `deepicd` in a pod: environment variables, mounted files, the command."""

from __future__ import annotations

RUN_UID = "DEEPICD_RUN_UID"
"""Identity of the run: part of its address in the store."""
ATTEMPT = "DEEPICD_ATTEMPT"
"""Number of the attempt."""
SIDECAR = "DEEPICD_SIDECAR"
"""Set if `deepicd sync` runs next to `deepicd run` and uploads."""
PROGRESS = "DEEPICD_PROGRESS"
"""Name of the ConfigMap that the attempt reports to."""
NAMESPACE = "DEEPICD_NAMESPACE"
"""Namespace of that ConfigMap."""
JUDGE_API_KEY = "DEEPICD_JUDGE_API_KEY"
"""Key of the judge's endpoint, from the Secret that `reward.judge.apiKey.secret` names."""
SECOND_JUDGE_API_KEY = "DEEPICD_SECOND_JUDGE_API_KEY"
"""Key of the second judge's endpoint, from the Secret that `reward.judge.second.apiKey.secret` names."""
TEACHER_API_KEY = "DEEPICD_TEACHER_API_KEY"
"""Key of the teacher's endpoint, from the Secret that `stages.distill.teacher.apiKey.secret` names."""
ENDPOINT_SECRET_KEY = "apiKey"  # noqa: S105  (a key's name)
"""Key in those Secrets."""
JUDGE_ENDPOINT = "DEEPICD_JUDGE_ENDPOINT"
"""Address of the judge's server that the run itself has started."""
SECOND_JUDGE_ENDPOINT = "DEEPICD_SECOND_JUDGE_ENDPOINT"
"""Address of the second judge's server that the run itself has started."""
TEACHER_ENDPOINT = "DEEPICD_TEACHER_ENDPOINT"
"""Address of the teacher's server that the run itself has started."""
OPERATORS_PREFIX = "DEEPICD_"
"""Variables whose names begin with it are the operator's."""
OPERATORS_VARIABLES = (RUN_UID, ATTEMPT, PROGRESS, NAMESPACE)
"""The operator's variables that every pod has."""
S3_SECRET_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
"""Keys of the Secret that `storage.s3.credentials.secretName` names, and variables of the same meaning."""
S3_SESSION_TOKEN = "AWS_SESSION_TOKEN"  # noqa: S105  (a key's name)
"""A third key, which the Secret may have."""
S3_SECRET = "/var/run/secrets/deepicd/s3"  # noqa: S105  (a path)
"""Folder with the files of that Secret."""

RUN_FILE = "/etc/deepicd/run.yaml"
"""Path of the run's file in a pod."""
RUN_FOLDER = "/scratch/run"
"""The run's folder in a pod."""
TERMINATION_MARK = "/tmp/deepicd-termination"  # noqa: S108  (a volume of the pod's own)
"""File that the uploader's preStop hook writes: when the pod's termination began, as /proc/uptime writes it."""
MARK_TERMINATION = ("cp", "/proc/uptime", TERMINATION_MARK)
"""The hook's command. The kubelet runs it when termination begins; SIGTERM follows once the trainer has ended."""
ATTEMPT_COMMAND = ("deepicd", "run", RUN_FILE, "--dir", RUN_FOLDER, "--json")
"""The command of an attempt's pod."""
