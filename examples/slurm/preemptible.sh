#!/bin/bash
# A queue that takes its nodes back: stop with a checkpoint, queue again, go on.   sbatch preemptible.sh particles.star
#SBATCH --job-name=hype
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=4
#SBATCH --gres=gpu:4
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=hype_%j.out
# SIGTERM to this script two minutes before the time is up; preemption sends it too, within the grace time.
#SBATCH --signal=B:TERM@120
set -uo pipefail
srun e2hype_refine.py "$1" --path hype_preemptible --requeue --batchsz 256 --niter 30 &
step=$!
# srun kills its tasks when it is sent SIGTERM itself: the step is sent it through Slurm.
asked=
trap 'asked=yes; scancel --signal=TERM "$SLURM_JOB_ID"' TERM
wait "$step"
code=$?
# The signal ended this wait, not the step.
if [ -n "$asked" ]; then
    wait "$step"
    code=$?
fi
if [ "$code" -eq 143 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
