"""What libraries find in the environment when they are imported, so that they send and fetch nothing."""

OFFLINE = dict.fromkeys(
    (
        "HF_HUB_OFFLINE",
        "HF_HUB_DISABLE_TELEMETRY",
        "HF_DATASETS_OFFLINE",
        "HF_EVALUATE_OFFLINE",
        "TRANSFORMERS_OFFLINE",
        "TRL_EXPERIMENTAL_SILENCE",
        "TQDM_DISABLE",
        "HF_DATASETS_DISABLE_PROGRESS_BARS",
    ),
    "1",
)
