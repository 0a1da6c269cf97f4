"""How long the layers of a model take, and all-reduces on links: all that scaling depends on.

Read `profile`, then `layer_times`, which measures one, and `layer_shares`, by which the time of a
step is shared out over its layers. The JSON files are the profiles that come along. `link_curve`
is what a doctor has measured.
"""
