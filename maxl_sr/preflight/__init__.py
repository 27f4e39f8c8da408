"""What an option file asks for is checked before anything is written.

BasicSR makes the experiment's folder first and fails later; here networks, checkpoints, data sets, losses and metrics
are looked at beforehand, and the first fault becomes one sentence that names the file, key or value.
"""

from typing import Any

import torch
from basicsr.utils.registry import MODEL_REGISTRY

from maxl_sr.adaptation.checkpoint import make_network
from maxl_sr.errors import UserError
from maxl_sr.preflight.datasets import check_datasets
from maxl_sr.preflight.networks import check_mask, check_scale
from maxl_sr.preflight.resume_state import find_state
from maxl_sr.preflight.sections import check_logger, check_paths, check_sections, check_top_level, require
from maxl_sr.preflight.training import check_training
from maxl_sr.preflight.validation import check_metrics_on, check_validation
from maxl_sr.settings.option_file import check_name
from maxl_sr.settings.values import check_choice, names


def preflight(opt: dict[str, Any]) -> None:
    """Check the options `opt`, as BasicSR's ``parse_options`` returns them.

    With ``--auto_resume`` the state that is found is written to ``path: resume_state``, for BasicSR to take.

    Raises:
        UserError: The first fault found.
    """
    check_name('name', opt['name'])
    check_choice('model_type', opt['model_type'], names(MODEL_REGISTRY))
    if opt['num_gpu'] and not torch.cuda.is_available():
        raise UserError(f"num_gpu is {opt['num_gpu']}, but torch sees no GPU here; set num_gpu: 0")
    require('the option file', opt, ('network_g', ))
    check_sections(opt)
    model = MODEL_REGISTRY.get(opt['model_type'])
    if opt['is_train']:
        check_training(opt)
        check_logger(opt)
    check_validation(opt)
    check_paths(opt)
    resumed = find_state(opt) if opt['is_train'] else None
    if opt['network_g'] is None:
        raise UserError('network_g must be a section, not null')
    nets = {name: make_network(opt, name, resumed) for name in list(opt)
            if name.startswith('network_') and opt[name] is not None}
    if hasattr(model, 'check_options'):
        model.check_options(opt)
        check_scale(nets['network_g'], opt)
        if 'network_m' in nets:
            check_mask(nets['network_m'], nets['network_g'], opt)
    elif (opt.get('val') or {}).get('adapt') is not None:
        raise UserError(f"val: adapt: a {opt['model_type']} does not adapt; use MAXLModel or MetaTransferModel")
    check_top_level(opt, model)
    check_metrics_on(opt, check_datasets(opt))
