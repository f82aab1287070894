"""What labwright-gan brings: the menu. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import labwright as lw


@lw.hookimpl
def labwright_components() -> Iterator[lw.Component]:
    here = "labwright_gan"
    yield lw.Component(
        "task", "gan/adversarial", f"{here}.task:Adversarial", "a generator against a critic, of pictures or points"
    )
    yield lw.Component(
        "task", "gan/adaptive", f"{here}.adaptive:Adaptive", "the same, augmented as much as it overfits"
    )
    yield lw.Component("task", "gan/diffusion", f"{here}.diffusion:Diffusion", "samples made of noise, step by step")
    yield lw.Component("data", "gan/ring", f"{here}.data.ring:Ring", "points of 8 Gaussians on a circle")
    yield lw.Component(
        "data", "gan/augmented", f"{here}.data.augmented:WithGenerated", "pictures, and generated ones to train on"
    )
    yield lw.Component("model", "gan/mlp", f"{here}.models.mlp:MLP", "two multilayer perceptrons")
    yield lw.Component("model", "gan/dcgan", f"{here}.models.dcgan:DCGAN", "two convolutional networks")
    yield lw.Component(
        "model", "gan/cdcgan", f"{here}.models.dcgan:ConditionalDCGAN", "two convolutional networks told the class"
    )
    yield lw.Component(
        "model", "gan/resnet", f"{here}.models.resnet:ResNet", "two residual networks, told the class or not"
    )
    yield lw.Component("model", "gan/unet", f"{here}.models.denoisers:UNet", "a denoiser of pictures, for diffusion")
    yield lw.Component(
        "model", "gan/mlp-denoiser", f"{here}.models.denoisers:MLPDenoiser", "a denoiser of points, for diffusion"
    )
    yield lw.Component("loss", "gan/non-saturating", f"{here}.losses:NonSaturating", "the loss of the first GAN")
    yield lw.Component("loss", "gan/hinge", f"{here}.losses:Hinge", "scores beyond a margin don't count")
    yield lw.Component("loss", "gan/least-squares", f"{here}.losses:LeastSquares", "squared distances of the scores")
    yield lw.Component("loss", "gan/relativistic", f"{here}.losses:Relativistic", "real against generated, in pairs")
    yield lw.Component("loss", "gan/wasserstein", f"{here}.losses:Wasserstein", "with a penalty on the critic's slope")
    yield lw.Component("loss", "gan/r1", f"{here}.losses:R1", "another loss plus a penalty at the real samples")


@lw.hookimpl
def labwright_recipes() -> Iterator[lw.Recipe]:
    folder = Path(__file__).parent / "recipes"
    yield lw.Recipe("gan/ring", folder / "ring.toml", "eight Gaussians on a circle, hinge loss")
    yield lw.Recipe("gan/ring-wgan-gp", folder / "ring-wgan-gp.toml", "eight Gaussians on a circle, Wasserstein loss")
    yield lw.Recipe("gan/digits", folder / "digits.toml", "scikit-learn's digits by class; needs labwright-vision")
    yield lw.Recipe("gan/mnist", folder / "mnist.toml", "MNIST by class; needs labwright-vision")
    yield lw.Recipe("gan/ring-diffusion", folder / "ring-diffusion.toml", "eight Gaussians on a circle, by denoising")
    yield lw.Recipe(
        "gan/digits-diffusion",
        folder / "digits-diffusion.toml",
        "digits by class, denoised; needs labwright-vision",
    )
    yield lw.Recipe(
        "gan/mnist-diffusion", folder / "mnist-diffusion.toml", "MNIST by class, denoised; needs labwright-vision"
    )
