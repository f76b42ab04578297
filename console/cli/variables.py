"""Options that an environment variable, or a line of `.env`, may give: the flag, else the variable.

`variable_option` declares one as `click.option` does. `given` says afterwards where each value came from.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from console.api import COMMAND_LINE, Given
from ups.errors import ConfigError
from ups.variables import Variables, flag_of

_KEY = "ups.variables"
_STRAY = " \t,"


def variables_of(context: click.Context) -> Variables:
    """The variables that this call sees, read once. Raises ConfigError and NotFoundError of a bad `.env`."""
    found = context.meta.get(_KEY)
    if found is None:
        found = context.meta[_KEY] = Variables.gather()
    assert isinstance(found, Variables)
    return found


class _FromVariable(click.Parameter):
    """What an option and an argument have in common."""

    variable: str

    def value_from_envvar(self, ctx: click.Context) -> Any:
        text = variables_of(ctx).get(self.variable, "").strip(_STRAY)
        if not text:
            return None
        if isinstance(self, click.Option) and self.is_flag:
            return flag_of(self.variable, text, variables_of(ctx).origin(self.variable))
        if self.multiple or self.nargs != 1:
            return [part.strip() for part in text.split(",") if part.strip()]
        return text

    def process_value(self, ctx: click.Context, value: Any) -> Any:
        try:
            return super().process_value(ctx, value)
        except click.BadParameter as error:
            if self.name is None or ctx.get_parameter_source(self.name) is not ParameterSource.ENVIRONMENT:
                raise
            where = variables_of(ctx).origin(self.variable)
            raise ConfigError(f"{self.variable} ({where}): {error.message}",
                              hint=f"correct it, or give {_spelt(self)}") from None  # fmt: skip


class VariableOption(_FromVariable, click.Option):
    """An option that a variable may give."""

    def __init__(self, *arguments: Any, variable: str, **options: Any) -> None:
        options["help"] = f"{options.get('help', '')} [{variable}]".strip()
        super().__init__(*arguments, **options)
        self.variable = variable


class VariableArgument(_FromVariable, click.Argument):
    """An argument that a variable may give."""

    def __init__(self, *arguments: Any, variable: str, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.variable = variable

    def process_value(self, ctx: click.Context, value: Any) -> Any:
        try:
            return super().process_value(ctx, value)
        except click.MissingParameter:
            raise click.MissingParameter(f"Name it, or set {self.variable}.", ctx, self) from None


def variable_option(*arguments: Any, variable: str, **options: Any) -> Callable[[Any], Any]:
    """`click.option` whose value the variable gives where the flag does not."""
    return click.option(*arguments, cls=VariableOption, variable=variable, **options)


def variable_argument(*arguments: Any, variable: str, **options: Any) -> Callable[[Any], Any]:
    """`click.argument` likewise."""
    return click.argument(*arguments, cls=VariableArgument, variable=variable, **options)


def is_from_variable(context: click.Context, name: str) -> bool:
    """Whether the value of a parameter was given by its variable."""
    return context.get_parameter_source(name) is ParameterSource.ENVIRONMENT


def given(context: click.Context) -> tuple[Given, ...]:
    """The options that were given, by a flag or by a variable, and by which."""
    found = []
    for parameter in context.command.params:
        if parameter.name is None or parameter.name in _NOT_TOLD:
            continue
        source = context.get_parameter_source(parameter.name)
        value = context.params.get(parameter.name)
        if source is ParameterSource.COMMANDLINE:
            found.append(Given(_spelt(parameter, value), _text(value), COMMAND_LINE))
        elif source is ParameterSource.ENVIRONMENT and isinstance(parameter, _FromVariable):
            where = variables_of(context).origin(parameter.variable)
            found.append(Given(_spelt(parameter, value), _text(value), f"{parameter.variable}, {where}"))
    return tuple(found)


_NOT_TOLD = ("as_json", "home", "debug", "dry_run", "detach", "note")


def _spelt(parameter: click.Parameter, value: Any = None) -> str:
    """The name that a user gives it by."""
    if not isinstance(parameter, click.Option):
        return parameter.human_readable_name.rstrip("…")
    names = parameter.secondary_opts if value is False and parameter.secondary_opts else parameter.opts
    return max(names, key=len)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value) if isinstance(value, str | Path) else f"{value:g}"
