"""The folder of a training run: what it is asked for, starts with, costs, holds and shows."""
