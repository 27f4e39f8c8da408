"""The paper's tables, row by row: trainings and tests by option files, figures as JSON, a page made of them."""
