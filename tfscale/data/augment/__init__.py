"""Augmentation for `preprocess(record, training, seed)`: what is drawn is a function of the seed.

The seed that `preprocess` gets is a function of run seed, epoch and example, and each function
here draws by it alone, so that an example is augmented the same on any number of workers. One seed
may be given to several of them: each makes numbers of its own of it. `images` crops, flips,
changes colours and erases, `rand_augment` is the method of that name, `boxes` moves boxes along,
`mixing` is for whole batches. `pixels` and `draws` are beneath them.
"""
