"""What kind of file is this? The content decides, never the ending; what is no model is named, with what to try."""

from __future__ import annotations

from critaudit.contents import Contents
from critaudit.errors import CorruptFileError, NotAModelError
from critaudit.sources.archives.zip_archive import ZipArchive
from critaudit.sources.pytorch.exported import is_exported
from critaudit.tensors import RegularFile

_HEAD = 4096
_SMALLEST = 8  # bytes; the shortest of any format are those of a safetensors file, its header's length
_MAGIC_PROTOCOL_1 = b"L119547037146038801333356L\n"  # torch_legacy.MAGIC_NUMBER before pickle protocol 2
_MODEL_ENDINGS = (".pt", ".pth", ".bin", ".safetensors", ".onnx")
# (beginning, what it is, what to try)
_FOREIGN: tuple[tuple[bytes, str, str], ...] = (
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras or h5py)", "save the weights with torch.save or as .npz"),
    (b"GGUF", "a GGUF file (llama.cpp)", "give the original safetensors or PyTorch weights"),
    (b"ggjt", "a GGML file (llama.cpp)", "give the original safetensors or PyTorch weights"),
    (b"\x1f\x8b", "compressed with gzip", "unpack it first (gunzip)"),
    (b"BZh", "compressed with bzip2", "unpack it first (bunzip2)"),
    (b"\xfd7zXZ\x00", "compressed with xz", "unpack it first (unxz)"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "unpack it first (unzstd)"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it and give the model file inside"),
    (b"Rar!", "a RAR archive", "unpack it and give the model file inside"),
    (b"\x7fELF", "a program or shared library", "give the weights that it was compiled from"),
    (b"MZ", "a Windows program", "give the weights themselves"),
    (b"%PDF", "a PDF document", "give the model file"),
    (b"\x89PNG", "an image", "give the model file"),
    (b"\xff\xd8\xff", "an image", "give the model file"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file it points to", "run git lfs pull"),
    (b"SQLite format 3", "an SQLite database", "give the model file"),
    (b"ARROW1", "an Arrow file", "give the model file"),
    (b"PAR1", "a Parquet file", "give the model file"),
)
# Identifiers at byte 4
_FLATBUFFERS = {
    b"TFL3": ("a TensorFlow Lite model", "convert it to ONNX first"),
    b"PTMF": ("a PyTorch Mobile model", "give the TorchScript archive or the checkpoint that it was made from"),
    b"ET12": ("an ExecuTorch program", "give the exported program or the checkpoint that it was made from"),
}
_TENSORFLOW = (b"tensorflow", b"VarHandleOp", b"Placeholder", b"saved_model")


def read_file(file: RegularFile) -> Contents:
    """Open a model file of any supported format without reading its weights.

    Raises NotAModelError where it is something else, CorruptFileError where it is damaged, LimitExceededError where
    reading on would cost more than a file of its size can honestly ask for.
    """
    label = file.path.name
    head = bytes(file.read(0, min(_HEAD, file.size)))
    if not head.strip(b"\0"):
        raise CorruptFileError(f"{label}: the file is empty or zeros only (interrupted download? fetch it again)")
    if file.size < _SMALLEST and not head.translate(None, b"\t\r\n").decode("latin-1").isprintable():
        raise CorruptFileError(f"{label}: the file is too short for a model, {file.size} bytes (truncated download?)")
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _read_archive(file, ZipArchive(file))
    if head.startswith(b"\x93NUMPY"):
        from critaudit.sources.npz import read_npy

        return read_npy(file)
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 2**40:
        from critaudit.sources.safetensors import read_safetensors

        return read_safetensors(file)
    for beginning, what, advice in _FOREIGN:
        if head.startswith(beginning):
            raise NotAModelError(f"{label}: this file is {what}; {advice}")
    for name, (what, advice) in _FLATBUFFERS.items():
        if head[4:8] == name:
            raise NotAModelError(f"{label}: this is {what}; {advice}")
    return _read_stream(file, head)


def _read_archive(file: RegularFile, archive: ZipArchive) -> Contents:
    """The formats that are zip archives, told apart by their members."""
    last_parts = {name.rpartition("/")[2] for name in archive.names}
    if is_exported(archive):
        from critaudit.sources.pytorch.exported import read_exported

        return read_exported(archive)
    if "constants.pkl" in last_parts and "data.pkl" in last_parts:
        from critaudit.sources.pytorch.torchscript import read_torchscript

        return read_torchscript(archive)
    if "data.pkl" in last_parts:
        from critaudit.sources.pytorch.checkpoint import read_zip

        return read_zip(archive)
    if any(name.endswith(".npy") for name in archive.names):
        from critaudit.sources.npz import read_npz

        return read_npz(file)
    raise NotAModelError(f"{archive.file.path.name}: this is {_kind_of_archive(last_parts)}")


def _kind_of_archive(members: set[str]) -> str:
    if "model.weights.h5" in members:
        return "a Keras model; save its weights as .npz or convert it to ONNX"
    if "model.json" in members:
        return "a TorchScript archive of PyTorch before 1.3; re-save it with a newer PyTorch"
    if "[Content_Types].xml" in members:
        return "an office document; give the model file"
    if "WHEEL" in members or "MANIFEST.MF" in members:
        return "a software package; unpack it and give the model file inside"
    if not members:
        return "an empty zip archive; expected a model"
    inside = next((name for name in sorted(members) if name.endswith(_MODEL_ENDINGS)), "")
    hint = f"unpack it and give {inside} inside" if inside else "expected a PyTorch, TorchScript, .pt2 or .npz archive"
    return f"a zip archive that is no model itself; {hint}"


def _read_stream(file: RegularFile, head: bytes) -> Contents:
    """Pickles, tar archives, ONNX; else what the file seems to be."""
    from critaudit.sources.onnx.model import looks_like_onnx, read_onnx
    from critaudit.sources.pytorch import checkpoint
    from critaudit.sources.pytorch.legacy import tar_members

    label = file.path.name
    if (head[0] == 0x80 and head[1:2] <= b"\x05") or head.startswith(_MAGIC_PROTOCOL_1):
        return checkpoint.read_pickle(file)
    if head[257:262] == b"ustar" or file.size >= 512:
        members = tar_members(file)
        if members is not None and members.keys() >= checkpoint.TAR_MEMBERS:
            return checkpoint.read_tar(file, members)
        if members:
            raise NotAModelError(f"{label}: this is a tar archive; unpack it and give the model file inside")
    if looks_like_onnx(head):
        return read_onnx(file)
    if b"\0" in head and any(word in head for word in _TENSORFLOW):
        raise NotAModelError(f"{label}: this seems to be a TensorFlow graph; convert it to ONNX first (tf2onnx)")
    text = _text_kind(head)
    if text is None or head[:1] in b"(]}c":
        try:
            return checkpoint.read_pickle(file)
        except (CorruptFileError, NotAModelError):
            if text is None:
                raise NotAModelError(
                    f"{label}: unknown format; expected PyTorch, safetensors, ONNX, .npz or .npy"
                ) from None
    raise NotAModelError(f"{label}: this is {text}")


def _text_kind(head: bytes) -> str | None:
    """What a text file is and what to try; None where it is binary."""
    if b"\0" in head:
        return None
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<!--")):
        return "a web page, not a model (a login or error page?); download the file again"
    if start.startswith(b"<?xml"):
        return "an XML document (an error message of a download server?); download the file again"
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:
            return None
    if start.startswith((b"{", b"[")):
        return "a JSON text; for a sharded model give the folder, otherwise the weights themselves"
    return "a text file, not a model; give the weights themselves"
