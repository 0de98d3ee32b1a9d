"""What a finished run says: latents of particles, Gaussians, and volumes of any of them."""
