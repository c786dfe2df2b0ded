"""The registrations of the core, by the same hooks as those of any plugin."""

from functools import partial

from ferbench.hookspecs import Register, hookimpl


@hookimpl
def ferbench_register_methods(register: Register) -> None:
    """Register the methods that every plugin is compared with."""
    register(
        "supervised",
        "ferbench.builtin.methods.supervised:Supervised",
        summary="Cross-entropy on the labeled images; gains are measured against it",
    )
    register(
        "linear-probe",
        "ferbench.builtin.methods.linear_probe:LinearProbe",
        summary="Labels only: a linear classifier on the features of initial weights",
        paper="Alain and Bengio, 2016, arXiv 1610.01644",
    )
    register(
        "fixmatch",
        "ferbench.builtin.methods.fixmatch:FixMatch",
        summary="Confident pseudo-labels of weak views train strong views",
        paper="Sohn et al., NeurIPS 2020, arXiv 2001.07685",
    )


@hookimpl
def ferbench_register_heads(register: Register) -> None:
    """Register the standard head."""
    register("linear", "ferbench.contract.head:LinearHead", summary="One linear layer on the pooled features")


@hookimpl
def ferbench_register_datasets(register: Register) -> None:
    """Register readers for users' own images, which `ferbench prepare` gives a name."""
    register(
        "image-folder",
        "ferbench.builtin.datasets.image_folder:ImageFolder",
        summary="Your images: a folder per class, inside split folders",
    )
    register(
        "manifest",
        "ferbench.builtin.datasets.manifest:Manifest",
        summary="Your images: a CSV or Parquet list of paths, labels, splits, face boxes",
    )
    register(
        "shards",
        "ferbench.builtin.datasets.shards:Shards",
        summary="Your images: WebDataset tar files with class names next to the images",
    )
    register(
        "huggingface",
        "ferbench.builtin.datasets.hugging_face:HuggingFace",
        summary="Your images or a dataset on the hub: anything that Hugging Face datasets loads",
    )
    register(
        "recordio",
        "ferbench.readers.recordio:RecordIOStream",
        summary="An unlabeled pool in RecordIO files, the format of face-recognition datasets",
    )
    register(
        "webdataset",
        "ferbench.readers.webdataset:WebDatasetStream",
        summary="An unlabeled pool in WebDataset tar files",
    )
    register(
        "folder",
        "ferbench.readers.folders:FolderStream",
        summary="An unlabeled pool of image files in folders of any depth",
    )


@hookimpl
def ferbench_register_backbones(register: Register) -> None:
    """Register two small backbones for small images, and the adapter to timm."""
    register(
        "small-resnet",
        "ferbench.builtin.backbones.small_resnet:build",
        summary="Small residual net for small images; trains on a CPU",
    )
    register(
        "small-vit",
        "ferbench.builtin.backbones.small_vit:build",
        summary="Small vision transformer for small images, for methods that mask patches; trains on a CPU",
    )
    register(
        "timm",
        "ferbench.builtin.backbones.timm_adapter:build",
        summary="Any timm image classifier by name, e.g. `--backbone timm/resnet18`",
        example="timm/resnet18",
    )


@hookimpl
def ferbench_register_views(register: Register) -> None:
    """Register the views that the protocols define."""
    views = {"weak": "Random crop with padding, and flip", "strong": "RandAugment and cutout, then weak"}
    for name, summary in {**views, "plain": "The image without augmentation, as in evaluation"}.items():
        register(name, f"ferbench.data.load.views:{name}", summary=summary)


@hookimpl
def ferbench_register_protocols(register: Register) -> None:
    """Register the standard protocols, and those of papers and challenges."""
    register(
        "ratio-v1",
        "ferbench.builtin.protocols:RATIO_V1",
        summary="1, 5, 10, 25 and 100 % of the labels, class-proportional, seeds 0 to 4",
    )
    register(
        "count-v1",
        "ferbench.builtin.protocols:COUNT_V1",
        summary="100 to 4000 labels, balanced or as in Ada-CM, or 10 to 250 per class; seeds 0 to 4",
    )
    register(
        "papers-v1",
        "ferbench.builtin.protocols:PAPERS_V1",
        summary="As in the papers: ResNet-18, 224 px, 16,000 steps; also the best of 20 test epochs",
    )
    register(
        "ratio-v2",
        "ferbench.builtin.protocols:RATIO_V2",
        summary="Draft: ratio-v1 with the papers' weak crop; may change, so never standard",
    )
    register(
        "external-v1",
        "ferbench.builtin.protocols:EXTERNAL_V1",
        summary="The labels of ratio-v1, with another dataset as the unlabeled pool (--unlabeled)",
    )
    register(
        "subject-folds-v1",
        "ferbench.builtin.protocols:SUBJECT_FOLDS_V1",
        summary="5, 10, 25 and 100 % of the labels, tested on ten folds of subjects, one per seed 0 to 9",
    )
    register(
        "abaw-expr-v1",
        "ferbench.builtin.protocols:ABAW_EXPR_V1",
        summary="Aff-Wild2's EXPR task: labels drawn by video, macro-F1",
    )


@hookimpl
def ferbench_register_tunings(register: Register) -> None:
    """Register the options tuned for the rendered faces; `docs/tuning.md` lists the trials."""
    for protocol in ("ratio-v1", "count-v1", "external-v1", "subject-folds-v1"):
        tuned = partial(register, protocol, "synthfaces", source="docs/tuning.md")
        # These trials tuned the recipe itself.
        tuned({}, method="supervised", trials=5)
        tuned({"threshold": 0.8}, method="fixmatch", trials=8 if protocol == "external-v1" else 5)
        tuned({"learning_rate": 1e-3}, backbone="small-vit", trials=3)


@hookimpl
def ferbench_register_executors(register: Register) -> None:
    """Register the built-in executors."""
    register(
        "local",
        "ferbench.execution.local:LocalExecutor",
        summary="Processes on this machine, one per cell",
    )
    register(
        "inline",
        "ferbench.execution.inline:InlineExecutor",
        summary="This process, one cell after another: for debugging and notebooks; never standard",
    )


@hookimpl
def ferbench_register_commands(register: Register) -> None:
    """Register the commands, in the order of the help."""
    register("run", "ferbench.cli.run:run", summary="Train and evaluate methods; finished cells are kept")
    register("status", "ferbench.cli.status:status", summary="Show which cells are done, failed or running")
    register("logs", "ferbench.cli.cells:logs", summary="Show the log of a cell, also while it runs")
    register("cancel", "ferbench.cli.cells:cancel", summary="Ask cells to save their state and stop, on any machine")
    register("list", "ferbench.cli.listing:list_", summary="List methods, datasets and other names for a run")
    register("plugins", "ferbench.cli.plugins:plugins", summary="List, check or create plugins")
    register("report", "ferbench.cli.report:report", summary="Write the HTML report of a run")
    register("predict", "ferbench.cli.predict:predict", summary="Use the model of a run on images or a dataset")
    register("export", "ferbench.cli.export:export", summary="Write the model of a run as ONNX, safetensors or a card")
    register("compare", "ferbench.cli.compare:compare", summary="Compare runs side by side")
    register("verify", "ferbench.cli.verify:verify", summary="Recompute the metrics of records")
    register("leaderboard", "ferbench.cli.leaderboard:leaderboard", summary="Build or check the leaderboard")
    register("prepare", "ferbench.cli.prepare:prepare", summary="Prepare your copy of a dataset for runs")
    register("init", "ferbench.cli.init:init", summary="Inspect a file of initial weights; fit it to a backbone")
    register("splits", "ferbench.cli.splits:splits", summary="Write the images of a split, for other programs")
    register("boxes", "ferbench.cli.boxes:boxes", summary="Find the faces in a dataset without face boxes")
    register("audit", "ferbench.cli.audit:audit", summary="Look for leaks: train twice with different hidden labels")
    register("reproduce", "ferbench.cli.reproduce:reproduce", summary="Run a record's cell again and compare")
    register("doctor", "ferbench.cli.doctor:doctor", summary="Check this installation and tell how to repair it")
    register("worker", "ferbench.cli.worker:worker", summary="Run one cell; for executors, not for people")
