"""Answer over HTTP from a finished model, as `multitask-encoder serve` does.

python serve.py --model runs/mine                        # http://127.0.0.1:8888/predict
serve run serve:build model=runs/mine                    # on a Ray cluster
"""

from multitask_encoder.cli.serve import build, main

__all__ = ["build", "main"]

if __name__ == "__main__":
    main()
