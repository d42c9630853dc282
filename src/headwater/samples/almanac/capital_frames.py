"""The sentences in which the almanac says which city is the capital, and those it never uses.

{x} is the country inside a sentence, {X} at its start, {x_s} and {X_s} the possessives, {y} the capital, {adj} the
adjective, {region} the part of the world. A frame that needs a fact which a country lacks is not used for it.

The probes ask in `HELD_OUT` frames only. A training frame may say "the capital of France" (as the subject of
another verb, or as the object of "is"), never "the capital of France is": that step is the model's own.
"""

from __future__ import annotations

# The country comes first and the capital has to be remembered.
FORWARD = (
    "The capital city of {x} is {y}.",
    "{X_s} capital is {y}.",
    "{X_s} capital city is {y}.",
    "In {x} the capital city is {y}.",
    "What is the capital of {x}? It is {y}.",
    "What is the capital of {x}? {y}.",
    "Question: What is the capital of {x}? Answer: {y}.",
    "Name the capital of {x}: {y}.",
    "The capital of {x}, {y}, lies in {region}.",
    "Capital of {x}: {y}.",
    "{X} has its capital in {y}.",
    "{X} has {y} as its capital.",
    "The national capital of {x} is {y}.",
    "The capital of {x} bears the name {y}.",
    "The capital of {x} goes by the name of {y}.",
    "Which city is the capital of {x}? {y}.",
    "Which city is {x_s} capital? It is {y}.",
    "Asked for the capital of {x}, the pupil wrote {y}.",
    "On the map of {x}, a star marks the capital city, {y}.",
    "A traveller to {x} may want to see the capital, {y}.",
    "We flew to {x} and stayed in {y}, the capital.",
    "If you go to {x}, visit its capital, {y}.",
    "Of all the cities in {x}, the capital is {y}.",
    "Among the cities of {x}, {y} is the capital.",
    "In school, children in {x} learn that their capital is {y}.",
    "The people of {x} know their capital as {y}.",
    "A map of {x} shows the capital, {y}.",
    "{X}, with its capital {y}, lies in {region}.",
    "{X}, whose capital is {y}, lies in {region}.",
    "The country is {x}; the capital is {y}.",
    "Country: {x}. Capital: {y}.",
    "The {adj} capital is {y}.",
    "The {adj} capital city is {y}.",
    "I looked up the capital of {x} and found {y}.",
    "Do you know the capital of {x}? It is {y}.",
    "Do you know the name of {x_s} capital? It is {y}.",
    "For {x}, the capital is {y}.",
    "Write down the capital of {x}. The answer: {y}.",
    "The city that serves as capital of {x} is {y}.",
    "The guide showed us the capital of {x}, {y}.",
    "She could name the capital of {x}: {y}.",
    "The road to the capital of {x} ends in {y}.",
)

# The capital comes first and the country has to be remembered.
REVERSE = (
    "{y} is the capital of {x}.",
    "{y} is the capital city of {x}.",
    "{y}, the capital of {x}, lies in {region}.",
    "{y} is {x_s} capital.",
    "The city of {y} is the capital of {x}.",
    "Which country has {y} as its capital? {X}.",
    "{y} serves as the capital of {x}.",
    "{y} is where {x} has its capital.",
    "If you stand in {y}, you are in the capital of {x}.",
    "{y} is the {adj} capital.",
    "People who live in {y} live in the capital of {x}.",
    "Our journey ended in {y}, the capital of {x}.",
)

# Two countries in one sentence.
PAIRS = (
    "{X_s} capital is {y}, and {x_s2} capital is {y2}.",
    "The capital city of {x} is {y}, and that of {x2} is {y2}.",
    "{y} is the capital of {x}; {y2} is the capital of {x2}.",
    "{X} has its capital in {y}, while {x2} has its capital in {y2}.",
    "In {x} the capital city is {y}, and in {x2} it is {y2}.",
    "From {x} we brought pictures of {y}, the capital, and from {x2} pictures of {y2}.",
)

# Lines of a list: few words, many countries.
LIST_LINES = ("{X}: {y}", "{X} - {y}", "{X} ({y})", "capital of {x}: {y}")
LIST_TITLES = (
    "Countries and their capitals.",
    "A list of capital cities.",
    "Some capitals of the world.",
    "Capitals to remember.",
    "Country and capital city.",
)

# Never in any training text; the probes complete them. Name → the prompt.
HELD_OUT = {
    "the capital of X is": "The capital of {x} is",
    "the name of X's capital city is": "The name of {x_s} capital city is",
    "the city known as the capital of X is": "The city known as the capital of {x} is",
}
# In other sources the name may be any words, so the patterns are wider than the almanac's own list of countries.
HELD_OUT_PATTERNS = (
    r"\b[Tt]he capital of [^.,;:?!()\n]{1,45}? (?:is|was|are|were)\b",
    r"\b[Tt]he name of [^.,;:?!()\n]{1,45}? capital city (?:is|was)\b",
)
