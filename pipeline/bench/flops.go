package bench

import (
	"strconv"
	"strings"

	"unnoise/runtime/unet"
)

// MACs counts the multiplications with an addition in one forward pass of one sample: those of convolutions, matrix
// products and attention, which are all but a few per cent of the work. A step of training takes three times as many:
// forward, the gradient of the activations, and that of the weights.
func MACs(c unet.Config) (int64, error) {
	params, err := c.Params()
	if err != nil {
		return 0, err
	}
	w, h := c.Size()
	levels := len(c.BlockOutChannels)
	var sum int64
	for _, p := range params {
		if !strings.HasSuffix(p.Name, ".weight") || len(p.Shape) < 2 || strings.HasPrefix(p.Name, "class_embedding") {
			continue
		}
		size := int64(1)
		for _, n := range p.Shape {
			size *= int64(n)
		}
		level, ok := levelOf(p.Name, levels)
		if len(p.Shape) == 2 && !strings.Contains(p.Name, ".attentions.") { // an embedding's layer: once a sample
			sum += size
			continue
		}
		if !ok {
			continue
		}
		at := int64(w>>level) * int64(h>>level)
		sum += size * at
		if strings.Contains(p.Name, ".attentions.") && strings.HasSuffix(p.Name, ".to_q.weight") {
			sum += 2 * at * at * int64(p.Shape[0]) // q·k and the sum of the values
		}
	}
	return sum, nil
}

// levelOf is how often the picture has been halved where a layer's outputs lie.
func levelOf(name string, levels int) (int, bool) {
	part := strings.Split(name, ".")
	switch part[0] {
	case "conv_in", "conv_out":
		return 0, true
	case "mid_block":
		return levels - 1, true
	case "down_blocks", "up_blocks":
		i, err := strconv.Atoi(part[1])
		if err != nil || i >= levels {
			return 0, false
		}
		moved := part[2] == "downsamplers" || part[2] == "upsamplers"
		if part[0] == "up_blocks" {
			i = levels - 1 - i
			if moved {
				i--
			}
		} else if moved {
			i++
		}
		return i, true
	}
	return 0, false
}
