"""Show a finished model's answers in a browser, as `multitask-encoder demo` does.

python app.py --model runs/mine                          # http://127.0.0.1:7860
"""

from multitask_encoder.cli.demo import main

if __name__ == "__main__":
    main()
