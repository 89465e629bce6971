"""`python -m multitask_encoder`, and `accelerate launch -m multitask_encoder`."""

from multitask_encoder.cli.main import main

if __name__ == "__main__":
    main()
