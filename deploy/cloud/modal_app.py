"""Modal: `modal deploy deploy/cloud/modal_app.py`, with keys in a secret of the name jina-embeddings-keys.

modal secret create jina-embeddings-keys JINA_EMBEDDINGS_API_KEYS=...
"""

import subprocess

import modal

PORT = 8080

image = (
    modal.Image.debian_slim(python_version="3.12").apt_install("gcc").pip_install("jina-embeddings-vllm[vllm,server]")
)
app = modal.App("jina-embeddings", image=image)
weights = modal.Volume.from_name("jina-embeddings-weights", create_if_missing=True)


@app.function(
    gpu="L4",
    secrets=[modal.Secret.from_name("jina-embeddings-keys")],
    volumes={"/cache": weights},
    env={"HF_HOME": "/cache/huggingface"},
    timeout=24 * 3600,
    scaledown_window=300,
)
@modal.concurrent(max_inputs=256, target_inputs=64)
@modal.web_server(PORT, startup_timeout=1200)
def serve() -> None:
    subprocess.Popen(
        ["jina-embeddings", "serve", "--model", "jinaai/jina-embeddings-v4", "--host", "0.0.0.0", "--port", str(PORT)]
    )
