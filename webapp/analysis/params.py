"""Parameters of an analysis, and its limits in one place."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

MAX_TEXT = 1_000_000  # characters of a pasted table
MAX_FILES = 12
MAX_CELL = 100_000  # characters of one cell
MAX_COLUMNS_READ = 20_000  # in a file, of which `columns` chooses
MAX_COLUMNS = 200  # that are analysed
MAX_CELLS = 40_000_000  # that are analysed
RARE: dict[str, Any] = {"advanced": True}  # among the further options of the form
ANALYSES = ("statistical", "descriptive", "correlation", "comparison", "trend")


class AnalysisParams(BaseModel):
    """task_config of a data analysis (001:159-163), and what is ours."""

    model_config = ConfigDict(extra="forbid", str_max_length=MAX_TEXT)

    text: str | None = Field(
        None, title="Pasted table", description="CSV, or cells copied from a spreadsheet; the first line names the columns.",
        json_schema_extra={"widget": "textarea"}, examples=["month,boats\n2024-01,31\n2024-02,45"],
    )  # fmt: skip
    data: dict[str, Any] | list[Any] | None = Field(
        None, title="Data (JSON)", json_schema_extra={"widget": "json"},
        description='Or instead: a list of numbers or of objects, or an object with a list for each column: {"values": [1, 2, 3]}.',
    )  # fmt: skip
    upload_ids: list[str] | None = Field(
        None, title="Files", max_length=MAX_FILES, json_schema_extra={"widget": "upload"},
        description="CSV, TSV, Excel, JSON or JSON Lines. Several files with the same columns are read as one table.",
    )  # fmt: skip
    url: str | None = Field(None, title="Address of a table", max_length=2048)
    analysis_type: Literal["statistical", "descriptive", "correlation", "comparison", "trend"] = Field(
        "statistical", title="What to look at",
        description="Statistical is everything; the others describe the columns and look at one thing.",
    )  # fmt: skip
    target: str | None = Field(None, title="Column to explain", max_length=120,
                               description="Only comparisons and trends of this column.")  # fmt: skip
    group: str | None = Field(None, title="Column of groups", max_length=120,
                              description="Compare the rows by the values of this column.")  # fmt: skip
    columns: list[str] | None = Field(None, title="Columns", max_length=MAX_COLUMNS, json_schema_extra=RARE,
                                      description="Only these, by name. Empty: all.")  # fmt: skip
    sheet: str | None = Field(
        None, title="Sheet", json_schema_extra=RARE, max_length=120, description="Name or number; empty: the first."
    )
    max_categories: int = Field(12, ge=2, le=50, title="Most categories shown", json_schema_extra=RARE,
                                description="Of a column, and as groups of a comparison.")  # fmt: skip
    decimal: Literal["auto", "point", "comma"] = Field("auto", title="Decimal mark", json_schema_extra=RARE)
    dates: Literal["auto", "day_first", "month_first"] = Field(
        "auto", title="Order in dates", json_schema_extra=RARE, description="Needed for dates like 03/04/2025 that could be read in two ways.")  # fmt: skip
    header: Literal["auto", "yes", "no"] = Field("auto", title="First row holds the names", json_schema_extra=RARE)

    @field_validator("columns")
    @classmethod
    def _plain(cls, columns: list[str] | None) -> list[str] | None:
        return list(dict.fromkeys(name.strip() for name in columns if name.strip())) or None if columns else None

    @field_validator("url", "sheet", "target", "group")
    @classmethod
    def _stripped(cls, value: str | None) -> str | None:
        return (value or "").strip() or None

    @model_validator(mode="after")
    def _one_source(self) -> AnalysisParams:
        given = [name for name in ("data", "text", "upload_ids", "url") if _says_something(getattr(self, name))]
        if not given:
            raise ValueError("give data, text, upload_ids or url")
        if len(given) > 1:
            raise ValueError(f"give one of data, text, upload_ids and url, not {' and '.join(given)}")
        if self.target and self.target == self.group:
            raise ValueError("target and group are the same column")
        return self


def _says_something(value: Any) -> bool:
    return bool(value.strip()) if isinstance(value, str) else bool(value)
