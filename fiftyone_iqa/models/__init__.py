"""Task models: trained classifiers whose correctness is explained."""
