"""The Kubernetes operator for DeepICDRun resources."""
