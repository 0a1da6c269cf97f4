"""What watches a run from inside `fit`: one class a file, on every worker."""
