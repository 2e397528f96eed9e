// One value of the table.
import type { Column, Row } from "../api/schema";
import { exactValue, formatValue, isNumeric, isSpread, numberOf } from "../api/values";
import { Status } from "../parts/basic";

export function isRight(column: Column): boolean {
  return isNumeric(column.type);
}

export function Cell({ column, value, row }: { column: Column; value: unknown; row: Row }) {
  if (column.name === "status") return <Status status={row.status} />;
  if (column.name === "tags") return <Tags tags={row.tags} />;
  if (value === null || value === undefined)
    return (
      <span class="nothing" title="no value">
        –
      </span>
    );
  if (isSpread(value)) {
    const mean = formatValue(value.mean, column.type);
    const std = value.std === null || column.type === "time" ? "" : formatValue(value.std, column.type);
    return (
      <span title={exactValue(value, column.type)}>
        {mean}
        {std && <span class="deviation"> ± {std}</span>}
      </span>
    );
  }
  const number = numberOf(value);
  const odd = number !== null && !Number.isFinite(number);
  return (
    <span class={odd ? "odd" : ""} title={exactValue(value, column.type)}>
      {formatValue(value, column.type)}
    </span>
  );
}

export function Tags({ tags }: { tags: readonly string[] }) {
  return (
    <span class="tags" title={tags.join(", ")}>
      {tags.map((tag) => (
        <span class="tag" key={tag}>
          {tag}
        </span>
      ))}
    </span>
  );
}
