"""The steps of a network, and what reads what."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from bitat_tf.export.lowering.binary_steps import BinaryConvolution
from bitat_tf.export.lowering.steps import Source, Step


class Program:
    """The steps of a network.

    Args:
        name: Of the network.
        sources: Its inputs.
        outputs: The steps whose outputs it returns.
        output_names: Their names.
    """

    def __init__(self, name: str, sources: Sequence[Source], outputs: Sequence[Step], output_names: Sequence[str]):
        self.name = name
        self.sources = list(sources)
        self.outputs = list(outputs)
        self.output_names = list(output_names)

    def steps(self) -> list[Step]:
        """Return what the outputs need, each step after its inputs; all sources among them."""
        found: dict[int, Step] = {id(source): source for source in self.sources}
        waiting: list[tuple[Step, Iterator[Step]]] = []
        for output in self.outputs:
            if id(output) in found:
                continue
            waiting.append((output, iter(output.inputs)))
            while waiting:
                step, rest = waiting[-1]
                following = next((one for one in rest if id(one) not in found), None)
                if following is not None:
                    waiting.append((following, iter(following.inputs)))
                else:
                    found[id(step)] = step
                    waiting.pop()
        return list(found.values())

    def readers(self) -> dict[int, list[Step]]:
        """Return by `id` of a step those that read it, each once."""
        found: dict[int, list[Step]] = defaultdict(list)
        for step in self.steps():
            for one in {id(one): one for one in step.inputs}.values():
                found[id(one)].append(step)
        return found

    def is_output(self, step: Step) -> bool:
        """Return whether the network returns the output of a step."""
        return any(step is output for output in self.outputs)

    def replace(self, old: Step, new: Step) -> None:
        """Let all that reads `old` read `new`, but `new` itself."""
        for step in self.steps():
            if step is not new:
                step.inputs = [new if one is old else one for one in step.inputs]
        self.outputs = [new if one is old else one for one in self.outputs]

    def binary_convolutions(self) -> list[BinaryConvolution]:
        """Return the binary convolutions in the order in which they are computed."""
        return [step for step in self.steps() if isinstance(step, BinaryConvolution)]

    def only_reader(self, step: Step) -> Step | None:
        """Return the one step that reads another; None if there are several, or the network returns it."""
        readers = self.readers()[id(step)]
        return readers[0] if len(readers) == 1 and not self.is_output(step) else None
