"""The generator behind SynthFaces: 3D head assets in, labeled face images out.

Needs the extra `[render]` (numba, scipy). Data flows one way through the modules: `assets` and
`identity`/`expression` make a head (`mesh`), `camera` and `rasterizer` find the visible surface,
`paint` and `shading` colour it, `scene` composes the picture, `degrade` photographs it, and
`plan`, `manifest` and `render_set` turn many of them into Parquet files.
"""

GENERATOR_VERSION = "1"
"""Changes whenever the same seed gives other faces than before."""
