"""Evaluation images: squash resize with Pillow (bilinear, antialias), no crop."""
from pathlib import Path

import torch
from PIL import Image
from torchvision.transforms import InterpolationMode, Resize
from torchvision.transforms.functional import pil_to_tensor


def load_squashed(root, paths, size=224):
    """uint8 [n,3,size,size]; 150 kB an image at 224."""
    resize = Resize((size, size), InterpolationMode.BILINEAR, antialias=True)
    pixels = torch.empty(len(paths), 3, size, size, dtype=torch.uint8)
    for row, path in zip(pixels, paths):
        with Image.open(Path(root) / path) as image:
            row.copy_(pil_to_tensor(resize(image.convert("RGB"))))
    return pixels


def normalise(pixels, mean, std):
    """f32 [n,3,H,W] from uint8: (x/255 - mean)/std per channel."""
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (mean, std))
    return pixels.float().div_(255).sub_(mean).div_(std)
