#!/bin/bash
# Four nodes of four GPUs: one process a GPU.   sbatch several_nodes.sh particles.star
#SBATCH --job-name=hype
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=4
#SBATCH --gres=gpu:4
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --output=hype_%j.out
set -euo pipefail
# The processes find each other through Slurm; each takes the GPU of its place on the node, or those that
# --gpus-per-task or --gpu-bind let it see.
# The folder must lie on a file system that all nodes share.
srun --kill-on-bad-exit=1 e2hype_refine.py "$1" --path hype_several_nodes --batchsz 1024 --niter 30
