"""Files that say what a dataset is: dataset_description.json, README, .bidsignore, CITATION.md."""
