"""InputArray from files, made ready for a network: arrays, images and the MNIST family's IDX files."""

from __future__ import annotations

import gzip
import math
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from critaudit.contents import InputArray, Preprocessing
from critaudit.errors import UsageError

if TYPE_CHECKING:
    from PIL import Image

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"})
ARRAY_NAMES = ("x", "inputs", "images")
MAX_SAMPLES = 256
_MAX_BYTES = 2**31
_TORCH_SUFFIXES = frozenset({".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle", ".safetensors", ".onnx"})
_IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_KINDS = ".npy, .npz, an image, a folder of images or an IDX file (.gz too) are read"


def load_inputs(
    path: str | os.PathLike[str],
    preprocessing: Preprocessing | None = None,
    *,
    limit: int = MAX_SAMPLES,
    tokens: bool = False,
) -> InputArray:
    """The first `limit` samples of a file or folder, batch first, as a network with this `preprocessing` wants them.

    Floating-point arrays (.npy; .npz with one array or one called x, inputs or images) are taken as they are; bytes
    (uint8 arrays, IDX files) become [0, 1] and are then normalised with the model's mean and standard deviation.
    Images are resized, cropped and normalised as timm's evaluation transform does it; a folder's images come in the
    order of their names. With `tokens` whole numbers of other types than uint8 are token ids and stay whole; they
    become floating-point numbers otherwise. Nothing is unpickled.

    Raises UsageError, in one line, where the path holds nothing of this kind or the shapes do not fit.
    """
    source = Path(path)
    if source.is_dir():
        files = sorted(file for file in source.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file())
        if not files:
            raise UsageError(f"{source}: this folder holds no images ({', '.join(sorted(IMAGE_SUFFIXES))})")
        return np.stack(_same_shape([_image(file, preprocessing) for file in files[:limit]], files))
    if not source.is_file():
        found = "this is not a regular file" if source.exists() else "no such file"
        raise UsageError(f"{source}: {found}; as inputs, {_KINDS}")
    reader = _reader(source)
    if reader is None:
        return _image(source, preprocessing)[None]
    array = reader(source, limit)
    if tokens and array.dtype.kind in "iu" and array.dtype != np.uint8 and array.ndim >= 1 and array.size:
        return array.astype(np.int64)
    return _fitted(array, preprocessing, source, limit)


def _reader(source: Path) -> Callable[[Path, int], NDArray[np.generic]] | None:
    """The reader for an array file, by content; None for an image. Raises UsageError for anything else."""
    try:
        with source.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise UsageError(f"{source}: cannot be opened: {error.strerror}") from None
    suffix = source.suffix.lower()
    if suffix in _TORCH_SUFFIXES:
        raise UsageError(f"{source}: inputs are not read from {suffix} files; save them with numpy.save as .npy")
    if head.startswith(b"\x93NUMPY"):
        return _npy
    if head.startswith(b"PK\x03\x04"):
        return _npz
    if head.startswith(b"\x1f\x8b") or (head[:2] == b"\0\0" and head[2:3] and head[2] in _IDX_TYPES and head[3] > 0):
        return _idx
    if suffix in IMAGE_SUFFIXES:
        return None
    raise UsageError(f"{source}: no inputs are recognised in this file; {_KINDS}")


def _npy(source: Path, limit: int) -> NDArray[np.generic]:
    try:
        # Mapped, so that a header that promises more than the file holds is an error and not an allocation.
        array = np.load(source, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError, OverflowError) as error:
        raise UsageError(f"{source}: this .npy file cannot be read: {error}") from None
    return np.asarray(array[:limit] if array.ndim else array)


def _npz(source: Path, limit: int) -> NDArray[np.generic]:
    try:
        with zipfile.ZipFile(source) as archive:
            sizes = {member.filename.removesuffix(".npy"): member.file_size for member in archive.infolist()}
        name = _chosen(list(sizes), source)
        if sizes[name] > _MAX_BYTES:
            raise UsageError(f"{source}: {name} inflates to {sizes[name]:,} bytes; at most {_MAX_BYTES:,} are read")
        with np.load(source, allow_pickle=False) as arrays:
            array = arrays[name]
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise UsageError(f"{source}: this .npz file cannot be read: {error}") from None
    except MemoryError:
        raise UsageError(f"{source}: its array claims more memory than there is (a damaged header?)") from None
    if not isinstance(array, np.ndarray):
        raise UsageError(f"{source}: {name} is no NumPy array; numpy.savez writes what is expected")
    return array[:limit] if array.ndim else array


def _chosen(names: list[str], source: Path) -> str:
    if len(names) == 1:
        return names[0]
    for wanted in ARRAY_NAMES:
        if wanted in names:
            return wanted
    raise UsageError(
        f"{source}: {len(names)} arrays ({', '.join(names[:8])}), and none is called {' or '.join(ARRAY_NAMES)}"
    )


def _idx(source: Path, limit: int) -> NDArray[np.generic]:
    """The IDX format of MNIST: two zero bytes, a type, the number of axes, their lengths (big endian), the elements."""
    with source.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        try:
            with gzip.GzipFile(fileobj=raw) if packed else raw as file:
                magic = file.read(4)
                if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _IDX_TYPES or not 1 <= magic[3] <= 8:
                    raise UsageError(f"{source}: the compressed data are no IDX file; {_KINDS}")
                shape = struct.unpack(f">{magic[3]}I", file.read(4 * magic[3]))
                shape = (min(shape[0], limit), *shape[1:])
                kind = np.dtype(_IDX_TYPES[magic[2]])
                wanted = math.prod(shape) * kind.itemsize
                if wanted > _MAX_BYTES:
                    raise UsageError(f"{source}: its header promises samples of {_by(shape[1:])}; that is too large")
                data = file.read(wanted)
        except (OSError, EOFError, zlib.error, struct.error) as error:
            raise UsageError(f"{source}: this IDX file cannot be read: {error}") from None
    if len(data) < wanted:
        raise UsageError(f"{source}: {wanted:,} bytes of samples are promised and {len(data):,} are there (truncated?)")
    if len(shape) == 1:
        raise UsageError(f"{source}: this IDX file holds one number per sample (labels?); samples are expected")
    array = np.frombuffer(data, dtype=kind).reshape(shape)
    return np.ascontiguousarray(array.astype(kind.newbyteorder("=")))


def _fitted(
    array: NDArray[np.generic], preprocessing: Preprocessing | None, source: Path, limit: int
) -> NDArray[np.float32]:
    """An array of samples in the network's shape, normalised where it holds bytes."""
    if array.dtype.kind not in "fiub":
        raise UsageError(f"{source}: the array holds {array.dtype}, numbers are expected")
    if array.size == 0 or array.ndim == 0:
        raise UsageError(f"{source}: the array has shape {_by(array.shape)}; samples are expected, batch first")
    values = array.astype(np.float32)
    if not np.isfinite(values).all():
        raise UsageError(f"{source}: the inputs hold NaN or infinite values; finite ones are expected")
    if array.dtype == np.uint8:
        values /= np.float32(255)
    if preprocessing is not None:
        values = _in_shape(values, preprocessing.shape, source)[:limit]
        if array.dtype == np.uint8 and preprocessing.mean is not None and values.ndim >= 4:
            values = _normalised(values, preprocessing)
    return np.ascontiguousarray(values)


def _in_shape(values: NDArray[np.float32], shape: tuple[int, ...], source: Path) -> NDArray[np.float32]:
    """`values` with a batch axis and samples of `shape`; another image size is left to the network."""
    sample = values.shape[1:]
    if sample == shape:
        return values
    if values.shape == shape:
        return values[None]
    if len(shape) > 1 and values.ndim >= 3 and len(sample) == len(shape) and sample[0] == shape[0]:
        return values
    if math.prod(sample) == math.prod(shape):
        return np.reshape(values, (-1, *shape))
    if len(shape) == 3 and shape[0] == 1 and len(sample) == 2:
        return values[:, None]
    if len(shape) == 3 and len(sample) == 3 and sample[2] == shape[0]:
        return np.ascontiguousarray(np.moveaxis(values, 3, 1))
    raise UsageError(f"{source}: samples of {_by(sample)} were found, the network takes {_by(shape)} (batch first)")


def _image(file: Path, preprocessing: Preprocessing | None) -> NDArray[np.float32]:
    """One picture, shape (channels, height, width), as timm's evaluation transform makes it."""
    from PIL import Image

    if preprocessing is None or len(preprocessing.shape) != 3:
        wants = f"samples of {_by(preprocessing.shape)}" if preprocessing is not None else "an unknown kind of input"
        raise UsageError(f"{file}: this is an image, but the network takes {wants}; give an .npy array of samples")
    channels, height, width = preprocessing.shape
    if channels not in (1, 3):
        raise UsageError(f"{file}: this is an image, but the network takes {channels} channels; give an .npy array")
    try:
        with Image.open(file) as opened:
            picture = opened.convert("RGB" if channels == 3 else "L")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UsageError(f"{file}: this image cannot be decoded: {error}") from None
    cropped = _cropped(picture, (height, width), preprocessing)
    values = np.asarray(cropped, dtype=np.float32) / np.float32(255)
    planes = np.ascontiguousarray(values[None] if values.ndim == 2 else np.moveaxis(values, 2, 0))
    return np.asarray(_normalised(planes[None], preprocessing)[0])


def _cropped(picture: Image.Image, size: tuple[int, int], preprocessing: Preprocessing) -> Image.Image:
    """Resize and centre crop in timm's three crop modes (timm.data.transforms_factory.transforms_imagenet_eval)."""
    from PIL import Image

    resampling = {
        "nearest": Image.Resampling.NEAREST,
        "bilinear": Image.Resampling.BILINEAR,
        "lanczos": Image.Resampling.LANCZOS,
    }.get(preprocessing.interpolation, Image.Resampling.BICUBIC)
    height, width = (math.floor(side / preprocessing.crop + 1e-6) for side in size)
    fill: tuple[int, ...] = (0,) * len(picture.getbands())
    if preprocessing.crop_mode == "squash":
        target = (width, height)
    elif preprocessing.crop_mode == "border":
        share = min(height / picture.height, width / picture.width)
        target = (round(picture.width * share), round(picture.height * share))
        if preprocessing.mean is not None and len(preprocessing.mean) == len(fill):
            fill = tuple(round(255 * value) for value in preprocessing.mean)
    elif height == width:
        # torchvision's rule for the longer side: truncated, not rounded.
        short = min(picture.size)
        target = (int(height * picture.width / short), int(height * picture.height / short))
    else:
        share = max(height / picture.height, width / picture.width)
        target = (round(picture.width * share), round(picture.height * share))
    resized = picture.resize((max(target[0], 1), max(target[1], 1)), resampling)
    left, top = _offset(resized.width - size[1]), _offset(resized.height - size[0])
    if left >= 0 and top >= 0:
        return resized.crop((left, top, left + size[1], top + size[0]))
    canvas = Image.new(resized.mode, (size[1], size[0]), fill if len(fill) > 1 else fill[0])
    canvas.paste(resized, (-left, -top))
    return canvas


def _offset(surplus: int) -> int:
    """Where the crop starts; negative where the picture is too small. torchvision rounds the two cases differently."""
    return round(surplus / 2) if surplus >= 0 else -(-surplus // 2)


def _normalised(values: NDArray[np.float32], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """(values − mean) / std along the channel axis 1; unchanged where the model names no normalisation."""
    if preprocessing.mean is None or preprocessing.std is None or len(preprocessing.mean) != values.shape[1]:
        return values
    along = (1, -1) + (1,) * (values.ndim - 2)
    mean = np.asarray(preprocessing.mean, dtype=np.float32).reshape(along)
    std = np.asarray(preprocessing.std, dtype=np.float32).reshape(along)
    return np.asarray((values - mean) / std, dtype=np.float32)


def _same_shape(images: list[NDArray[np.float32]], files: list[Path]) -> list[NDArray[np.float32]]:
    for image, file in zip(images, files, strict=False):
        if image.shape != images[0].shape:
            raise UsageError(f"{file}: this image became {_by(image.shape)}, the first one {_by(images[0].shape)}")
    return images


def _by(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) if shape else "a single number"
