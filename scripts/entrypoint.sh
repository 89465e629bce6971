#!/usr/bin/env bash
# What a container does, by its first word; any other command is run as it is.
#
#   train [config.yaml] [--key value ...]    as multitask-encoder train; by default the quickstart
#   notebook                                 the walkthrough in Jupyter, port 8888
#   demo [--model runs/mine]                 a page to try a model on, port 7860
#   serve [--model runs/mine]                the model over HTTP, port 8888
#   healthy                                  whether what runs here answers: for HEALTHCHECK
#
# Inside, the ports are fixed; `docker run -p` maps them. Without --model, the image's model is used.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Holds the URL of the server's health check; without a server, there is no file.
url=${TMPDIR:-/tmp}/healthy_url

word=${1:-train}
if [ $# -gt 0 ]; then shift; fi
case $word in
train)
    exec python run_multitask.py "$@"
    ;;
notebook)
    echo http://127.0.0.1:8888/api >"$url"
    exec jupyter lab --ip=0.0.0.0 --port=8888 --port-retries=0 --no-browser \
        --LabApp.default_url=/lab/tree/notebooks/multitask_walkthrough.ipynb "$@"
    ;;
demo)
    echo http://127.0.0.1:7860/ >"$url"
    exec python app.py --model model --host 0.0.0.0 --port 7860 "$@"
    ;;
serve)
    echo http://127.0.0.1:8888/healthz >"$url"
    exec python serve.py --model model --host 0.0.0.0 --port 8888 "$@"
    ;;
healthy)
    [ ! -e "$url" ] ||
        exec python -c 'import sys, urllib.request as u; u.urlopen(sys.argv[1], timeout=10)' \
            "$(<"$url")"
    ;;
*)
    exec "$word" "$@"
    ;;
esac
