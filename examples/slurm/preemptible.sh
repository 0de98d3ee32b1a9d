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
trap 'kill -TERM "$step"' TERM
wait "$step"
code=$?
# A trapped signal ends `wait` early: wait for the step itself.
while kill -0 "$step" 2>/dev/null; do
    wait "$step"
    code=$?
done
if [ "$code" -eq 143 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
