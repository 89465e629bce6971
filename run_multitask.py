"""Train, evaluate and use a multi-task encoder, as `multitask-encoder train` does.

python run_multitask.py                                  # configs/quickstart.yaml
python run_multitask.py configs/snips.yaml --data_dir DIR --learning_rate 1e-4
accelerate launch --config_file configs/accelerate/cpu_two_processes.yaml run_multitask.py
python run_multitask.py --help                           # every key
"""

from multitask_encoder.cli.run import main

if __name__ == "__main__":
    main()
