#!/bin/bash
# All GPUs of one node: one process drives them all.   sbatch one_node.sh particles.star
#SBATCH --job-name=hype
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --gres=gpu:4
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --output=hype_%j.out
set -euo pipefail
srun e2hype_refine.py "$1" --path hype_one_node --batchsz 256 --niter 30
