"""What Ray's example for MNIST takes from torchvision, whose wheel needs PyTorch's CUDA build.

The pictures are scikit-learn's digits, enlarged to MNIST's 28 x 28 pixels.
"""

import functools
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch.utils.data import TensorDataset


@functools.cache
def _digits() -> tuple[torch.Tensor, torch.Tensor]:
    pixels, labels = load_digits(return_X_y=True)
    pictures = np.kron(pixels.reshape(-1, 1, 8, 8) / 16, np.ones((3, 3)))
    pictures = np.pad(pictures, ((0, 0), (0, 0), (2, 2), (2, 2)))
    return torch.tensor(pictures, dtype=torch.float32), torch.tensor(labels)


def _mnist(root: str, train: bool, download: bool, transform: Any) -> TensorDataset:
    pictures, labels = _digits()
    part = slice(1500) if train else slice(1500, None)
    return TensorDataset(transform(pictures[part]), labels[part])


def _normalize(mean: tuple[float], std: tuple[float]) -> Any:
    return lambda pictures: (pictures - mean[0]) / std[0]


datasets = SimpleNamespace(MNIST=_mnist)
transforms = SimpleNamespace(
    Compose=lambda steps: steps[-1],  # they are tensors already
    ToTensor=lambda: None,
    Normalize=_normalize,
)
