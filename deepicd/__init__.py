"""DeepICD: train and evaluate reasoning models that predict ICD-10-CM codes. Research use only."""
