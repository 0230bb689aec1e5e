"""What `import deepicd` offers beyond the names it re-exports: thin functions over rewards, evaluation and a run's folder."""
