"""What labwright-vision brings: the menu. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import labwright as lw


@lw.hookimpl
def labwright_components() -> Iterator[lw.Component]:
    here = "labwright_vision"
    yield lw.Component("data", "vision/digits", f"{here}.data.digits:Digits", "1,797 handwritten digits, 8x8 pixels")
    yield lw.Component(
        "data", "vision/digits-heads", f"{here}.data.digit_heads:DigitHeads", "the digits' class, parity and ink"
    )
    yield lw.Component("data", "vision/mnist", f"{here}.data.mnist:Mnist", "70,000 handwritten digits, 28x28 pixels")
    yield lw.Component(
        "data", "vision/image-folder", f"{here}.data.image_folder:ImageFolder", "your own pictures, a folder per class"
    )
    yield lw.Component(
        "data", "vision/table", f"{here}.data.table:PictureTable", "your own pictures, named by a table with labels"
    )
    yield lw.Component("data", "vision/cifar", f"{here}.data.cifar:Cifar", "60,000 small coloured pictures")
    yield lw.Component("data", "vision/npz", f"{here}.data.npz:Npz", "pictures in an .npz file, as MedMNIST's")
    yield lw.Component("data", "vision/shards", f"{here}.data.shards:Shards", "your own pictures, in tar shards")
    shapes = f"{here}.detection.data.shapes:Shapes"
    yield lw.Component("data", "vision/shapes", shapes, "shapes drawn at run time, with boxes, masks")
    boxes = f"{here}.detection.data.folder:DetectionFolder"
    yield lw.Component("data", "vision/detection-folder", boxes, "your own pictures with boxes: COCO, VOC, YOLO, JSONL")
    yield lw.Component("task", "vision/detection", f"{here}.detection.task:Detection", "find objects: boxes, masks")
    detector = f"{here}.models.detector:Detector"
    yield lw.Component("model", "vision/detector", detector, "one-stage detector without anchor boxes")
    detection_loss = f"{here}.detection.losses:DetectionLoss"
    yield lw.Component("loss", "vision/detection", detection_loss, "class, place and spread of boxes")
    torchvision = f"{here}.models.torchvision_detectors:TorchvisionDetector"
    summary = "torchvision's Faster R-CNN, Mask R-CNN, RetinaNet"
    yield lw.Component("model", "vision/torchvision-detector", torchvision, summary)
    own_losses = f"{here}.detection.losses:TorchvisionLosses"
    yield lw.Component("loss", "vision/torchvision-losses", own_losses, "what a detector of torchvision minimises")
    yield lw.Component(
        "data",
        "vision/segmentation-folder",
        f"{here}.data.segmentation_folder:SegmentationFolder",
        "your own pictures and masks, in folders side by side",
    )
    yield lw.Component(
        "data", "vision/shapes-masks", f"{here}.data.shapes_masks:ShapesMasks", "shapes drawn on noise, with masks"
    )
    yield lw.Component("data", "vision/datasets", f"{here}.data.hub:Datasets", "pictures from the Hugging Face hub")
    yield lw.Component("model", "vision/deeplab", f"{here}.models.deeplab:DeepLab", "DeepLabV3+ on any timm backbone")
    yield lw.Component("model", "vision/unet", f"{here}.models.unet:UNet", "U-Net: a class for each pixel")
    yield lw.Component("model", "vision/mlp", f"{here}.models.mlp:MLP", "multilayer perceptron over the pixels")
    yield lw.Component("model", "vision/cnn", f"{here}.models.cnn:CNN", "small convolutional network")
    yield lw.Component("model", "vision/resnet", f"{here}.models.resnet:ResNet", "residual network for small pictures")
    yield lw.Component("model", "vision/vit", f"{here}.models.vit:ViT", "vision transformer over patches")
    yield lw.Component("model", "vision/mae", f"{here}.models.vit:MaskedAutoencoder", "fills in patches, by a ViT")
    masked = f"{here}.masked_autoencoding:MaskedPictures"
    yield lw.Component("task", "vision/masked-pictures", masked, "pictures filled in, learned without labels")
    yield lw.Component("model", "vision/timm", f"{here}.models.timm:Timm", "any architecture of timm by its name")
    yield lw.Component("optimizer", "timm/*", f"{here}.optimizers:TIMM", "any optimizer of timm by its name")
    suggesting = "labwright_vision.suggesting"
    pictures, arrays = f"{suggesting}:class_pictures", f"{suggesting}:picture_arrays"
    yield lw.Component("suggester", "vision/class-pictures", pictures, "pictures in a sub-folder for each class")
    yield lw.Component("suggester", "vision/named-pictures", f"{suggesting}:named_pictures", "a table of pictures")
    yield lw.Component("suggester", "vision/picture-arrays", arrays, "pictures in arrays, as MNIST's, MedMNIST's")


@lw.hookimpl
def labwright_recipes() -> Iterator[lw.Recipe]:
    folder = Path(__file__).parent / "recipes"
    for name, summary in (
        ("digits", "a small CNN on scikit-learn's digits"),
        ("digits-mlp", "a perceptron on scikit-learn's digits"),
        ("digits-heads", "class, parity and ink of digits by one CNN"),
        ("mnist", "a small CNN on MNIST"),
        ("image-folder", "a residual network on your own pictures"),
        ("shapes-detection", "a small detector on shapes that are drawn at run time"),
        ("shapes-instances", "a small Mask R-CNN on shapes that are drawn at run time"),
        ("detection-folder", "a detector on your own pictures with boxes"),
        ("digits-simclr", "SimCLR on scikit-learn's digits"),
        ("digits-byol", "BYOL on scikit-learn's digits"),
        ("digits-mae", "a masked autoencoder on scikit-learn's digits"),
        ("pneumonia", "a small CNN on X-rays, MedMNIST's pneumoniamnist"),
        ("cifar10", "a small CNN on small coloured pictures of ten classes"),
        ("image-folder-simclr", "SimCLR on your own pictures"),
        ("shapes-segmentation", "a U-Net on shapes with masks"),
        ("segmentation-folder", "a U-Net on your own masks"),
        ("imagenet", "ResNet-50 on ImageNet or as many of your own pictures"),
        ("coco", "a detector on ResNet-50's backbone, on COCO's layout"),
        ("ade20k", "DeepLabV3+ on ResNet-50's backbone, on ADE20K's layout"),
    ):
        yield lw.Recipe(f"vision/{name}", folder / f"{name}.toml", summary)
