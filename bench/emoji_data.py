"""The emoji that ship with the program, from an archive of Google's Noto emoji at 32x32 pixels.

Run with NumPy and Pillow:

    python bench/emoji_data.py noto_32.npz

The archive holds images (u8 [n, 32, 32, 3]: the 32x32 pictures of npm's emoji-datasource-google 16.0.0 on white),
labels (indices into categories), is_skin_variant and names (code points). Emoji that are others in another skin colour
are left out. It writes data/emoji/:

    emoji.webp     all pictures as tiles of one losslessly compressed picture, row by row, 49 in a row
    emoji.csv      code points and category of each, in the same order
    held_out.txt   the rows held out: 300, of each category in proportion (largest remainders)

Of what the program can read, lossless WebP is the smallest by far (bytes): WebP 2.08 M, zlib over Paeth-filtered rows
with green subtracted 2.39 M, PNG 2.52 M.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

TARGET = Path(__file__).parents[1] / "data/emoji"
TILES = 49
HELD_OUT = 300

archive = np.load(sys.argv[1])
kept = ~archive["is_skin_variant"]
images, labels, names = (archive[key][kept] for key in ("images", "labels", "names"))
categories = archive["categories"]
count = len(images)
assert images.shape == (count, 32, 32, 3) and count % TILES == 0

sheet = images.reshape(count // TILES, TILES, 32, 32, 3).swapaxes(1, 2).reshape(-1, TILES * 32, 3)
Image.fromarray(sheet).save(TARGET / "emoji.webp", lossless=True, quality=100, method=6, exact=True)

lines = [f"{name},{categories[label]}" for name, label in zip(names, labels)]
(TARGET / "emoji.csv").write_text("\n".join(["code points,category", *lines]) + "\n")

sizes = np.bincount(labels, minlength=len(categories))
quotas, lost = np.divmod(sizes * HELD_OUT, count)
quotas[np.argsort(-lost, kind="stable")[: HELD_OUT - quotas.sum()]] += 1
random = np.random.default_rng(0)
rows = [random.choice(np.flatnonzero(labels == k), n, replace=False) for k, n in enumerate(quotas)]
rows = np.sort(np.concatenate(rows))
(TARGET / "held_out.txt").write_text("".join(f"{row}\n" for row in rows))

print(f"{count} emoji, {len(rows)} held out")
for label, (name, size, held) in enumerate(zip(categories, sizes, quotas)):
    channels = images[labels == label].reshape(-1, 3).astype(np.float64)
    print(f"{name}: {size}, {held} held out, mean colour {channels.mean(0).round(6).tolist()}")
total = images.astype(np.int64).sum()
weights = np.arange(1, 3 * 32 * 32 + 1)
flat = images.transpose(0, 3, 1, 2).reshape(count, -1).astype(np.int64)
print(f"sum {total}, sum over columns j = 1, 2, ... of j times pixel {(flat * weights).sum()}")
held = np.isin(np.arange(count), rows)
print(f"the same of the rows held out: {flat[held].sum()}, {(flat[held] * weights).sum()}")
