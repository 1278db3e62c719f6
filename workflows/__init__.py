"""Run the pipeline over many images: plans, workers, the command line."""
