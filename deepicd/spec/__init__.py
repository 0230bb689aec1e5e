"""The models of run.yaml. Importing them pulls in nothing heavy."""
