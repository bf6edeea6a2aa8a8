"""`train.extra`: which further arguments of the underlying trainer are handed on, and who owns the others.

Together the two tables name every argument there is (a test holds them to the installed trainer), so that none is
taken and then has no effect.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from embertune.errors import Problem
from embertune.recipe.near import did_you_mean

#: Arguments that are handed on as they are.
_PASSED = """
    torch_compile torch_compile_backend torch_compile_mode use_liger_kernel liger_kernel_config
    activation_checkpointing activation_checkpointing_kwargs gradient_checkpointing gradient_checkpointing_kwargs
    use_cache neftune_noise_alpha torch_empty_cache_steps use_cpu full_determinism average_tokens_across_devices
    dataloader_num_workers dataloader_pin_memory dataloader_persistent_workers dataloader_prefetch_factor
    dataloader_multiprocessing_context dataloader_in_order accelerator_config parallelism_config
    ddp_find_unused_parameters ddp_bucket_cap_mb ddp_broadcast_buffers ddp_static_graph ddp_backend ddp_timeout
    fsdp fsdp_config deepspeed local_rank debug skip_memory_metrics log_level log_level_replica"""
PASSED = frozenset(_PASSED.split())

#: What to do instead, and the arguments that embertune sets itself or that cannot take effect in it.
_INSTEAD = {
    "use --out": "output_dir",
    "use train.epochs": "num_train_epochs",
    "use train.max_steps": "max_steps",
    "use train.batch_size": "per_device_train_batch_size auto_find_batch_size",
    "use train.accumulate": "gradient_accumulation_steps",
    "use train.learning_rate": "learning_rate",
    "use train.weight_decay": "weight_decay",
    "use train.gradient_clip": "max_grad_norm",
    "use train.schedule": "lr_scheduler_type lr_scheduler_kwargs",
    "use train.warmup": "warmup_steps warmup_ratio",
    "use guard.eval_every": "eval_strategy eval_steps eval_delay eval_on_start",
    "use guard.metric": "metric_for_best_model greater_is_better",
    "use --quiet": "disable_tqdm",
    "use seed": "seed data_seed",
    "use model.prompts": "prompts",
    "use data.columns": "label_names remove_unused_columns",
    "leave it out: batches are put together as train.loss needs them": """
        batch_sampler multi_dataset_batch_sampler dataloader_drop_last train_sampling_strategy length_column_name""",
    "use train.optimizer": "optim",
    "use train.optimizer_options": "optim_args adam_beta1 adam_beta2 adam_epsilon",
    "leave it out: rates are those of the recipe": "optim_target_modules learning_rate_mapping",
    "leave it out: no loss here has use for it": "label_smoothing_factor router_mapping",
    "use train.precision": "bf16 fp16 tf32",
    "leave it out: evaluation is embertune's own": """
        per_device_eval_batch_size prediction_loss_only eval_do_concat_batches eval_use_gather_object
        eval_accumulation_steps include_for_metrics batch_eval_metrics bf16_full_eval fp16_full_eval do_train do_eval
        do_predict""",
    "use train.save_every": "save_strategy save_steps",
    "use train.keep_checkpoints": "save_total_limit",
    "leave it out: embertune saves the best state itself": """
        load_best_model_at_end save_only_model save_on_each_node enable_jit_checkpoint push_to_hub hub_token
        hub_private_repo hub_model_id hub_strategy hub_always_push hub_revision""",
    "leave it out: every step is in history.jsonl": """
        logging_strategy logging_steps logging_first_step log_on_each_node logging_nan_inf_filter
        include_num_input_tokens_seen""",
    "use train.report_to": "report_to",
    "leave it out: a tracker is set up by its own environment": """
        run_name project trackio_space_id trackio_bucket_id trackio_static_space_id""",
    "leave it out: run the same command again": """
        resume_from_checkpoint ignore_data_skip restore_callback_states_from_checkpoint""",
}
#: Arguments that embertune sets itself, and what to do instead.
OWNED: dict[str, str] = {name: instead for instead, names in _INSTEAD.items() for name in names.split()}


def problems_of_extra(extra: Mapping[str, Any]) -> Iterator[Problem]:
    """What is wrong with the names in `train.extra`; their values are for the trainer to judge."""
    for name in extra:
        if name in OWNED:
            yield Problem(f"train.extra.{name}", "embertune decides this argument", OWNED[name])
        elif name not in PASSED:
            near = did_you_mean(name, sorted(PASSED), "see the arguments of SentenceTransformerTrainingArguments")
            yield Problem(f"train.extra.{name}", "the trainer has no such argument", near)
