"""The CUDA graph of an iteration, with a stand-in for the graph: what it is filled with and checked for, the fall-back.

On a GPU the last test runs the real one.
"""

import logging
from contextlib import contextmanager

import pytest
import torch

from maxl_sr.models.outer_step import WARM_UP, OuterStep
from tests.helpers import batch, build_model, train_options


class Graph:
    """Calls the captured functions again at every replay; capturing itself changes nothing."""

    def __init__(self):
        self.calls = []

    def replay(self):
        for call in self.calls:
            call()


class Stream:
    def wait_stream(self, other):
        pass


class Training:
    """A weight that learns the mean of the images by gradient steps."""

    def __init__(self):
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.optimizer = torch.optim.SGD([self.weight], 0.1)
        self.optimizer.state[self.weight] = {'step': torch.tensor(0.)}
        self.losses = {'l': torch.zeros(())}
        self.checked, self.graph = [], None

    def gradients(self, lq, gt):
        def run():
            loss = ((self.weight - lq) ** 2).mean() + 0 * gt.sum()
            self.weight.grad, = torch.autograd.grad(loss, self.weight)
            self.losses['l'].copy_(loss.detach())

        self._do(run)
        return self.losses

    def update(self):
        rate = self.optimizer.param_groups[0]['lr']  # a number, or the tensor that the graph reads
        self._do(lambda: self.weight.data.sub_(float(rate) * self.weight.grad))

    def _do(self, call):
        if self.graph is None:
            call()
        else:
            self.graph.calls.append(call)


@pytest.fixture
def training(monkeypatch):
    training = Training()

    @contextmanager
    def graph(graph, capture_error_mode):
        training.graph = graph
        yield
        training.graph = None

    monkeypatch.setattr(torch.cuda, 'CUDAGraph', Graph)
    monkeypatch.setattr(torch.cuda, 'graph', graph)
    monkeypatch.setattr(torch.cuda, 'Stream', Stream)
    monkeypatch.setattr(torch.cuda, 'current_stream', Stream)
    monkeypatch.setattr(torch.cuda, 'set_stream', lambda stream: None)
    monkeypatch.setattr(torch.cuda, 'stream', lambda stream: contextmanager(lambda: (yield))())
    return training


def outer_step(training, capture=True):
    return OuterStep(training.gradients, lambda losses: training.checked.append(losses['l'].item()), training.update,
                     [training.optimizer], capture)


def expected_losses(images, rates):
    weight, losses = 0.0, []
    for image, rate in zip(images, rates):
        losses.append((weight - image) ** 2)
        weight -= rate * 2 * (weight - image)
    return losses


def test_the_graph_sees_new_images_and_new_learning_rates(training):
    step = outer_step(training)
    values, rates = [1., 2., 3., 4., 5., 6., 7.], [0.1 / (1 + iteration) for iteration in range(7)]
    sizes = [4, 4, 4, 4, 4, 5, 4]  # the sixth does not fit the graph
    returned = []
    for value, rate, size in zip(values, rates, sizes):
        training.optimizer.param_groups[0]['lr'] = rate
        image = torch.full((2, 3, size, size), value)
        returned.append(step(image, image)['l'].item())
        assert training.optimizer.param_groups[0]['lr'] == rate
        assert (step._graph is not None) == (len(returned) > WARM_UP)
    assert returned == training.checked == pytest.approx(expected_losses(values, rates))
    assert training.optimizer.param_groups[0]['capturable']


def test_without_capture_nothing_is_captured(training):
    step = outer_step(training, capture=False)
    for _ in range(WARM_UP + 2):
        step(torch.ones(2, 3, 4, 4), torch.ones(2, 3, 4, 4))
    assert training.checked == pytest.approx(expected_losses(5 * [1.], 5 * [0.1])) and step._graph is None


def test_a_failed_capture_falls_back(training, monkeypatch, caplog):
    @contextmanager
    def failing(graph, capture_error_mode):
        raise RuntimeError('operation not permitted when stream is capturing')
        yield

    monkeypatch.setattr(torch.cuda, 'graph', failing)
    monkeypatch.setattr(logging.getLogger('basicsr'), 'propagate', True)
    step = outer_step(training)
    for _ in range(WARM_UP + 2):
        step(torch.ones(2, 3, 4, 4), torch.ones(2, 3, 4, 4))
    assert not step.capture and training.optimizer.param_groups[0]['lr'] == 0.1
    assert training.checked == pytest.approx(expected_losses((WARM_UP + 2) * [1.], (WARM_UP + 2) * [0.1]))
    assert 'cannot run as a CUDA graph' in caplog.text


@pytest.mark.gpu
@pytest.mark.parametrize('model', ['MAXLModel', 'MetaTransferModel'])
def test_a_cuda_graph_trains_as_eager_iterations(model, make_pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', False)
    trained = []
    for capture in (False, True):
        opt = train_options(model, make_pairs(str(capture)))
        opt['num_gpu'] = 1
        opt['train']['cuda_graph'] = capture
        torch.manual_seed(0)
        built = build_model(opt, tmp_path)
        for iteration in range(1, 13):
            built.feed_data(batch(seed=iteration))
            built.optimize_parameters(iteration)
        steps = [built._step] if model == 'MetaTransferModel' else [built._multi_task_step, built._mask_step]
        assert all((step._graph is not None) == capture for step in steps)
        trained.append([w.detach() for net in (built.net_g, built.net_m) for w in net.parameters()])
    for eager, graph in zip(*trained):
        torch.testing.assert_close(eager, graph, rtol=1e-4, atol=1e-5)
