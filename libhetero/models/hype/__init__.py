"""CryoHype: every particle image gets its own implicit neural representation (INR) of a volume.

`transformer` turns an image and learnable weight tokens into output tokens, `hypernetwork` turns
those into INR weights by modulating shared base weights, `inr` maps a spatial frequency to the
value of the volume's transform, `model` joins them.

References
----------
The CryoHype paper, section 3 and Figure 1.
"""
