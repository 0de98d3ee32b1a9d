#!/bin/bash
# Every host of a Cloud TPU slice, from your own machine.   ZONE=us-central2-b pod_slice.sh my-slice /mnt/data/particles.star
# libhetero is installed on all hosts, and /mnt/data is a file system that they share.
# A spot slice that was taken back is made anew by whoever made it; the same line then goes on from the last checkpoint.
set -euo pipefail
gcloud compute tpus tpu-vm ssh "$1" --zone="$ZONE" --worker=all --command="
e2hype_refine.py $2 --path /mnt/data/hype_slice --requeue --coordinator auto --batchsz 1024 --niter 30
"
