"""Whether the GPU libraries that TensorFlow will load have code for this node's GPUs.

cuDNN 9.11 and newer have none for Maxwell, Pascal and Volta (the V100), and TensorFlow 2.21 is
content with any cuDNN 9, so that a run would start and fail at the first operation that needs it.
`requirements-gpu.txt` pins the last version that has.
"""

import ctypes
from collections.abc import Iterable
from importlib import metadata

from tfscale.errors import ConfigError

# https://docs.nvidia.com/deeplearning/cudnn/backend/v9.11.0/reference/support-matrix.html; read off
# the wheels too: libcudnn_ops has code for sm_50 to sm_70 in 9.10.2 and begins at sm_75 in 9.11.0.
_FIRST_WITHOUT_VOLTA = (9, 11, 0)
_TURING = (7, 5)

_WHEEL = "nvidia-cudnn-cu12"
_PINNED = "9.10.2.21"
_SYSTEM_LIBRARY = "libcudnn.so.9"


def installed_cudnn() -> tuple[int, int, int] | None:
    """The version of the cuDNN that TensorFlow's wheel loads: its own package, or the system's.

    Returns:
        For example (9, 10, 2); None where neither is there, or doesn't say.
    """
    return _version_of_wheel() or _version_of_system()


def require_driven(
    names_and_capabilities: Iterable[tuple[str, tuple[int, int] | None]],
    cudnn: tuple[int, int, int] | None,
) -> None:
    """Refuses GPUs for which the cuDNN has no code; what is unknown is not refused.

    Args:
        names_and_capabilities: of each GPU its name and its compute capability, for example
            ("Tesla V100-SXM2-16GB", (7, 0)).
        cudnn: what `installed_cudnn` found.

    Raises:
        ConfigError: a GPU older than Turing with cuDNN 9.11 or newer.
    """
    if cudnn is None or cudnn < _FIRST_WITHOUT_VOLTA:
        return
    for name, capability in names_and_capabilities:
        if capability is not None and capability < _TURING:
            raise ConfigError(
                f"{name} (compute capability {_dotted(capability)}) was found with cuDNN "
                f"{_dotted(cudnn)}, which has code for {_dotted(_TURING)} and newer only; expected "
                "cuDNN 9.10 or older. Type: .venv/bin/pip install -r requirements-gpu.txt (in "
                f"another environment: pip install {_WHEEL}=={_PINNED})"
            )


def _version_of_wheel() -> tuple[int, int, int] | None:
    try:
        parts = metadata.version(_WHEEL).split(".")
        return int(parts[0]), int(parts[1]), int(parts[2])
    except (metadata.PackageNotFoundError, IndexError, ValueError):
        return None


def _version_of_system() -> tuple[int, int, int] | None:
    try:
        get_version = ctypes.CDLL(_SYSTEM_LIBRARY).cudnnGetVersion
    except (OSError, AttributeError):
        return None
    get_version.restype = ctypes.c_size_t
    major, rest = divmod(int(get_version()), 10_000)  # 91002 is 9.10.2
    return major, *divmod(rest, 100)


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
