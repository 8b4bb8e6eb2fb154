"""Small .npz archives by NumPy, for the unit tests of `tweedie::data`.

Run with NumPy:

    python bench/npz_peer.py

It writes crates/tweedie/tests/fixtures/{plain,packed,keras}.npz: pictures of bytes with the channels last and labels,
stored and deflated, and four arrays as Keras names them. Value j of row i, in the order of the array, is
(31 i + 7 j) mod 251.
"""

from pathlib import Path

import numpy as np

TARGET = Path(__file__).parents[1] / "crates/tweedie/tests/fixtures"


def rows(n, *shape):
    j = np.arange(np.prod(shape))
    return ((31 * np.arange(n)[:, None] + 7 * j) % 251).reshape(n, *shape).astype(np.uint8)


np.savez(TARGET / "plain.npz", images=rows(3, 5, 4, 3), labels=np.array([4, 1, 4]))
np.savez_compressed(TARGET / "packed.npz", rows(3, 5, 4, 3))
np.savez_compressed(
    TARGET / "keras.npz",
    x_train=rows(4, 6, 5),
    y_train=np.array([[3], [0], [3], [3]], dtype=np.uint8),
    x_test=rows(2, 6, 5),
    y_test=np.array([[0], [3]], dtype=np.uint8),
)
