"""Small task models, for tests and the processes they start."""

CLASSES = ["cat", "dog", "rocket", "cup"]


def small_model(slug, seed, **kwargs):
    """Makes a task model: a random convolution of 32 x 32 pixels."""
    import torch

    from fiftyone_iqa.models import Normalisation, get_task_model
    from fiftyone_iqa.preprocessing import ResizeCrop

    torch.manual_seed(seed)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 5, 2),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(32, len(CLASSES)),
    )
    return get_task_model(
        net,
        "cpu",
        classes=CLASSES,
        transform=kwargs.get("transform") or ResizeCrop(32, 32),
        normalisation=Normalisation((0.5,) * 3, (0.1,) * 3),
        slug=slug,
    )
