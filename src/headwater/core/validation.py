"""Parts of settings, and of calls, that several rooms declare in the same way."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

Count = Annotated[int, Field(strict=True, ge=1)]
Fraction = Annotated[float, Field(strict=True, ge=0, le=1)]
"Parts of settings that may be a word as well."


def wanted(words: str) -> WrapValidator:
    """Return what refuses any wrong value of a setting in these words: pydantic has others for each kind it may be."""

    def check(value: Any, validated: ValidatorFunctionWrapHandler) -> Any:
        try:
            return validated(value)
        except ValidationError:
            raise ValueError(words) from None

    return WrapValidator(check)
