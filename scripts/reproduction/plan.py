"""Which trainings and tests the rows of the tables need, each as an option file: a base with named changes."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from maxl_sr.errors import UserError
from maxl_sr.utils.packaged import option_folder

ROWS = Path(__file__).with_name('rows.yml')
NEVER = 1_000_000  # iterations from one validation to the next, where no curve is asked for: the tests follow


@dataclass(frozen=True)
class Training:
    """A training.

    Attributes:
        name: Name of the experiment.
        stage: 'stage1', 'stage2', 'ridnet' or 'mirnet'.
        opt: Its option file.
        updates: How often the network θ1 is updated; with a mask network there are twice as many iterations in stage 1.
    """

    name: str
    stage: str
    opt: dict[str, Any]
    updates: int


@dataclass(frozen=True)
class Row:
    """A row of a table with one seed: trainings, in their order, and tests.

    Attributes:
        name: Name of the row.
        seed: Seed of its trainings.
        trainings: Those that it needs; rows share some.
        tests: Option files of its tests by the reading of the rate; a network that does not adapt has one, called ''.
        changes: Further changes of the option files, as they were asked for.
    """

    name: str
    seed: int
    trainings: tuple[Training, ...]
    tests: dict[str, dict[str, Any]]
    changes: Mapping[str, Any]


def merged(opt: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Return an option file with some of its keys changed; a section is merged, a null takes a key out."""
    result = copy.deepcopy(dict(opt))
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            result[key] = merged(result.get(key) or {}, value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def definitions() -> dict[str, Any]:
    """Return ``rows.yml``."""
    with open(ROWS, encoding='utf-8') as file:
        found: dict[str, Any] = yaml.safe_load(file)
    return found


class Plan:
    """The rows of a scale.

    Args:
        scale: 'tiny', 'small' or 'paper'.
        changes: Further changes of the option files, by stage, for data elsewhere.

    Raises:
        UserError: There are changes of a stage that there is none of.
    """

    def __init__(self, scale: str, changes: Mapping[str, Any] | None = None) -> None:
        self.scale, self._changes, self._all = scale, changes or {}, definitions()
        for stage in self._changes:
            if stage not in self._all['base']:
                raise UserError(f'further changes: there is no stage {stage}; there are {", ".join(self._all["base"])}')
        self._scale = self._all['scales'][scale]

    def rows(self, tables: Sequence[int | str], names: Sequence[str] | None, seeds: Sequence[int]) -> Iterator[Row]:
        """Yield the rows of the tables, each once, a seed after the other.

        Raises:
            UserError: There is no such row.
        """
        wanted = list(dict.fromkeys(name for table in tables for name in self._all['tables'][table]['rows']))
        for name in names or ():
            if name not in wanted:
                raise UserError(f'--rows {name}: there is no such row; there are {", ".join(wanted)}')
        for seed in seeds:
            for name in wanted:
                if not names or name in names:
                    yield self.row(name, seed)

    def row(self, name: str, seed: int) -> Row:
        """Return a row with its trainings and tests."""
        section = self._all['stage2'][name]
        if 'base' in section:
            return self._baseline(name, section['base'], seed)
        begin = section['from']
        first = self._training('stage1', begin, self._all['stage1'][begin], seed) if begin else None
        path = {}
        if first:
            path['pretrain_network_g'] = weights(first.name, 'g')
            path['pretrain_network_m'] = weights(first.name, 'm')
        second = self._training('stage2', name, section, seed, {'path': path})
        masked = section.get('mask', False)
        mask_of = second if masked and 'network_m' in second.opt else first
        tests = {}
        for reading, adapt in self._all['readings'].items():
            opt = self._option_file('test', section.get('test', []), seed)
            opt['name'] = f'{second.name}_{reading.replace(", ", "_").replace(" ", "_")}'
            opt['path'] = {**opt['path'], 'pretrain_network_g': weights(second.name, 'g')}
            if masked and mask_of:
                opt['path']['pretrain_network_m'] = weights(mask_of.name, 'm')
            else:
                del opt['network_m'], opt['path']['pretrain_network_m']
            opt['val']['adapt'].update(adapt)
            if adapt['lr'] is None:
                opt['val']['adapt']['lr'] = None if section.get('learned') else self._trained_rate(second, seed)
            tests[reading] = opt
        return Row(name, seed, tuple(training for training in (first, second) if training), tests, self._changes)

    def _baseline(self, name: str, base: str, seed: int) -> Row:
        training = self._training(base, name, self._all['stage2'][name], seed)
        test = self._option_file('test', [], seed)
        test.update(name=f'{training.name}_test', model_type='SRModel', network_g=training.opt['network_g'])
        test['path'] = {'pretrain_network_g': weights(training.name, 'g'), 'strict_load_g': True}
        del test['network_m'], test['val']['adapt']
        return Row(name, seed, (training, ), {'': test}, self._changes)

    def _trained_rate(self, training: Training, seed: int) -> float:
        inner = training.opt['train'].get('inner') or self._option_file('stage2', [], seed)['train']['inner']
        return float(inner['lr'] * inner['loss_weight'])

    def _training(self, stage: str, name: str, section: Mapping[str, Any], seed: int,
                  change: Mapping[str, Any] | None = None) -> Training:
        opt = merged(self._option_file(stage, section.get('changes', []), seed), change or {})
        opt['path'] = {'pretrain_network_g': None, **opt['path']}
        if 'network_m' not in opt:
            opt['path'].pop('pretrain_network_m', None)
        opt['name'] = f'reproduce_{self.scale}_{stage}_{name}_{seed}'
        updates = max(1, int(self._scale[stage]['updates'] * section.get('share', 1)))
        if 'inner_factor' in section:
            opt['train']['inner']['lr'] *= section['inner_factor']
        opt['train']['total_iter'] = updates * (2 if stage == 'stage1' and 'network_m' in opt else 1)
        opt['val']['val_freq'] = NEVER
        if 'validations' in section:  # the log tells of each at which iteration it was
            every = max(1, opt['train']['total_iter'] // section['validations'])
            opt['val']['val_freq'] = opt['logger']['print_freq'] = every
        return Training(opt['name'], stage, opt, updates)

    def _option_file(self, stage: str, changes: Sequence[str], seed: int) -> dict[str, Any]:
        """The base of a stage with the changes of the scale, then the named ones."""
        with open(option_folder() / self._all['base'][stage], encoding='utf-8') as file:
            opt = yaml.safe_load(file)
        scale = self._scale.get(stage, {})
        if stage in ('ridnet', 'mirnet') and 'stage2' in self._scale:  # the data of stage 2, not its network
            data = self._scale['stage2'].get('changes', {})
            opt = merged(opt, {key: value for key, value in data.items() if key not in ('network_g', 'train')})
        opt = merged(opt, scale if stage == 'test' else scale.get('changes', {}))
        opt = merged(opt, self._changes.get(stage, {}))
        for name in changes:
            opt = merged(opt, self._all['changes'][name])
        opt['manual_seed'] = seed
        return opt


def weights(experiment: str, network: str) -> str:
    """Return where a training leaves the weights of a network, 'g' or 'm'."""
    return f'experiments/{experiment}/models/net_{network}_latest.pth'
