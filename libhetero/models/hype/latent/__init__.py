"""Which molecule each image is of, solved for before anything is trained: a mixture of volumes on the Fourier grid."""
