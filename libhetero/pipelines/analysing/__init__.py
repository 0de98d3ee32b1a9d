"""Analysis of a run: colours, density and states of its latents, volumes along them, and the page that shows all."""
